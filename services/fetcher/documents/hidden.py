"""Removal of elements that a page hides: a person who approves evidence must see the same text as a model.

Hidden are elements by attributes, by inline styles, and by simple rules of the page's own style sheets. Style sheets
from elsewhere are not loaded; elements that only those hide stay.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Final, Protocol

from shared.text.words import word_set

Colour = tuple[int, int, int]
_WHITE: Final = (255, 255, 255)
_NEAR: Final = 24
"""Largest difference in red, green and blue at which two colours are hard to tell apart."""


class Element(Protocol):
    """The part of lxml's element that is used here. The `tag` of a comment is no string."""

    tag: object
    text: str | None
    attrib: MutableMapping[str, str]

    def __iter__(self) -> "Iterator[Element]": ...
    def iter(self, tag: str) -> "Iterator[Element]": ...
    def itertext(self) -> Iterator[str]: ...
    def text_content(self) -> str: ...
    def drop_tree(self) -> None: ...


_UNSEEN: Final = word_set(
    "script style noscript template iframe object embed applet svg canvas audio video annotation annotation-xml link "
    "datalist"
)
"""Elements without words for a reader. They are removed without being reported."""
_UNSEEN_CLASSES: Final = word_set("sr-only visually-hidden visuallyhidden screen-reader-text screen-reader-only")
_ZERO: Final = re.compile(r"[+-]?0*\.?0*(?:px|em|rem|%|pt|vh|vw)?$")
_LENGTH: Final = re.compile(r"([+-]?\d*\.?\d+)(px|pt|em|rem|%|vw|vh)?$")
_FAR: Final[Mapping[str, float]] = {"px": 500, "pt": 400, "em": 30, "rem": 30, "%": 100, "vw": 100, "vh": 100}
_NO_CLIP: Final = re.compile(r"rect\((?:\s*[01]?(?:px)?[\s,]*){4}\)|inset\(\s*(?:50|100)%")
_HEX: Final = re.compile(r"#([0-9a-f]{3,8})$")
_RGB: Final = re.compile(r"rgba?\(\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)(?:[\s,/]+([\d.]+)(%?))?\s*\)$")
_NAMES: Final[Mapping[str, Colour]] = {
    "white": _WHITE,
    "snow": (255, 250, 250),
    "ivory": (255, 255, 240),
    "whitesmoke": (245, 245, 245),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "silver": (192, 192, 192),
    "navy": (0, 0, 128),
    "yellow": (255, 255, 0),
}
_BRACE: Final = re.compile(r"([^{}]*)([{}])")
_REMARK: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_SIMPLE: Final = re.compile(r"([a-z][a-z0-9]*)?([.#])([\w-]+)")
_MAX_CSS: Final = 200_000
_ORDERS: Final = re.compile(
    r"\b(?:ignore|disregard|forget|instructions?|prompt|assistant|language model|llm|chatgpt|you (?:are|must))\b",
    re.IGNORECASE,
)
_QUOTED: Final = 60


def without_hidden(root: Element, styles: str) -> tuple[str, ...]:
    """Remove from the tree, in place, the elements that are not shown. Return the texts that were hidden, in order.

    `styles` are the page's own style sheets. Scripts, styles, comments and media are removed without being returned.
    """
    named = frozenset(_hidden_names(styles[:_MAX_CSS]))
    taken: list[str] = []
    left: list[tuple[Element, Colour | None]] = [(root, None)]
    while left:
        element, background = left.pop()
        tag = element.tag
        if not isinstance(tag, str) or tag.lower() in _UNSEEN:
            element.drop_tree()
            continue
        element.attrib.pop("alttext", None)
        style = parse_style(element.attrib.get("style", ""))
        background = _background(style, element.attrib) or background
        if (
            _is_hidden(tag.lower(), element.attrib, named)
            or is_hidden_by(style)
            or _blends(style, element.attrib, background)
        ):
            taken.append(" ".join(" ".join(element.itertext()).split()))
            element.drop_tree()
        else:
            left.extend((child, background) for child in reversed(list(element)))
    return tuple(words for words in taken if any(map(str.isalnum, words)))


def describe_hidden(taken: Iterable[str]) -> Iterator[str]:
    """Yield a line with the number of hidden passages and the most suspicious, else the longest of them; nothing for
    none.
    """
    passages = list(taken)
    if passages:
        telling = max(passages, key=lambda words: (bool(_ORDERS.search(words)), len(words)))
        shown = telling if len(telling) <= _QUOTED else f"{telling[:_QUOTED].rstrip()}…"
        yield f"{len(passages):,} hidden passage{'' if len(passages) == 1 else 's'}: “{shown}”"


def parse_style(style: str) -> dict[str, str]:
    """Return the properties of an inline style in lower case; a later one replaces an earlier one."""
    pairs = (part.partition(":") for part in style.lower()[:10_000].split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs if name.strip()}


def is_hidden_by(style: Mapping[str, str]) -> bool:
    """Return True if an element with this style shows nothing: by display, size, opacity, clipping or position."""
    clipped = style.get("overflow", "").startswith("hidden") or style.get("overflow-x") == "hidden"
    return (
        style.get("display") == "none"
        or style.get("visibility") in {"hidden", "collapse"}
        or style.get("content-visibility") == "hidden"
        or _is_zero(style.get("opacity"))
        or _is_tiny(style.get("font-size", ""))
        or any(_is_tiny(part.partition("/")[0]) for part in style.get("font", "").split())
        or bool(_NO_CLIP.search(style.get("clip", "") + style.get("clip-path", "")))
        or "scale(0)" in style.get("transform", "")
        or (clipped and any(_is_zero(style.get(name)) for name in ("height", "width", "max-height", "max-width")))
        or _is_off_screen(style)
    )


def _hidden_names(styles: str) -> Iterator[tuple[str, str, str]]:
    """Yield tag (or empty), `.` or `#`, and name of each class and id that the page's own rules
    hide on every screen.
    """
    open_: list[str] = []
    for match in _BRACE.finditer(_REMARK.sub("", styles)):
        if match[2] == "{":
            open_.append(match[1].strip().lower())
        elif open_:
            selectors = open_.pop()
            if not open_ and not selectors.startswith("@") and is_hidden_by(parse_style(match[1])):
                for selector in selectors.split(","):
                    if simple := _SIMPLE.fullmatch(selector.strip()):
                        yield simple[1] or "", simple[2], simple[3]


def _is_hidden(tag: str, attributes: Mapping[str, str], named: frozenset[tuple[str, str, str]]) -> bool:
    """Return True if attributes, a class for screen readers, or a rule of the page's style sheets hide the element."""
    classes = attributes.get("class", "").lower().split()
    names = [(".", name) for name in classes] + [("#", attributes.get("id", "").lower())]
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden", "").strip().lower() == "true"
        or (tag == "dialog" and "open" not in attributes)
        or not _UNSEEN_CLASSES.isdisjoint(classes)
        or any(((tag, *name) in named or ("", *name) in named) for name in names)
    )


def _is_zero(value: str | None) -> bool:
    """Return True for a length or number that is zero; False for none."""
    return bool(value) and _ZERO.match(value or "") is not None


def _is_tiny(size: str) -> bool:
    """Return True for a font size that is too small to read."""
    match = _LENGTH.match(size)
    if not match:
        return False
    smallest = {"em": 0.15, "rem": 0.15, "%": 15}.get(match[2] or "px", 2.0)
    return float(match[1]) < smallest


def _is_off_screen(style: Mapping[str, str]) -> bool:
    """Return True if a negative indent, margin or position moves the element off the screen."""
    moved = [style.get("text-indent", ""), style.get("margin-left", ""), style.get("margin-top", "")]
    if style.get("position") in {"absolute", "fixed"}:
        moved += [style.get(side, "") for side in ("left", "top", "right", "bottom")]
    return any(_is_far(value) for value in moved)


def _is_far(value: str) -> bool:
    """Return True for a negative length of more than about a screen."""
    match = _LENGTH.match(value)
    return match is not None and float(match[1]) <= -_FAR[match[2] or "px"]


def _blends(style: Mapping[str, str], attributes: Mapping[str, str], background: Colour | None) -> bool:
    """Return True if the letters have nearly the colour of their background, or are transparent. The default background
    is white.
    """
    value = style.get("color") or attributes.get("color", "").lower()
    if value == "transparent" or _is_transparent(value):
        return True
    letters = parse_colour(value)
    behind = background or _WHITE
    return letters is not None and all(abs(one - other) <= _NEAR for one, other in zip(letters, behind, strict=True))


def _background(style: Mapping[str, str], attributes: Mapping[str, str]) -> Colour | None:
    """Return the background colour of a style or of `bgcolor`; `None` if unknown."""
    value = style.get("background-color") or style.get("background") or attributes.get("bgcolor", "").lower()
    return parse_colour(value) or next(filter(None, map(parse_colour, value.split())), None)


def parse_colour(value: str) -> Colour | None:
    """Return red, green and blue of a CSS colour; `None` if it cannot be parsed."""
    if match := _HEX.match(value):
        digits = match[1]
        if len(digits) in {3, 4}:
            digits = "".join(digit * 2 for digit in digits)
        return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)) if len(digits) in {6, 8} else None
    if match := _RGB.match(value):
        return int(match[1]), int(match[2]), int(match[3])
    return _NAMES.get(value)


def _is_transparent(value: str) -> bool:
    """Return True for an `rgba()` colour that is nearly transparent."""
    match = _RGB.match(value)
    return match is not None and match[4] is not None and float(match[4]) <= 0.05
