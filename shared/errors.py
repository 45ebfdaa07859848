"""The errors of Dossier, one tree. The class says whose fault it is; `code` decides, the text explains.

DossierError
├── StepError            work on a step failed; `verdict` turns it into what follows
│   ├── Terminal         trying again cannot help: bad input, refused, 401, quota exhausted
│   ├── Throttled        asked to wait: 429, or 503 with Retry-After
│   └── Transient        may go away by itself: time-outs, resets, 5xx
├── ContractError        a message or an argument breaks the published contract
│   ├── InvalidMessage   a contract message that cannot be taken: names field and reason
│   ├── Unreadable       stored bytes that are no fact
│   └── UnknownType      a fact of a type or version that this release does not know
├── TooLarge             a message over the limit, refused before it is sent
├── Unavailable          NATS does not answer, or not in time
│   ├── NoRoom           NATS answers that it is full: it takes the same write once there is room
│   └── Diverged         the log in NATS is not the one that was read: nothing is written until it is read anew
├── Refused              NATS answers, and will not do it
└── ServerTooOld         the NATS server lacks what Dossier builds on
"""


class DossierError(Exception):
    """Anything that Dossier raises on purpose."""


class StepError(DossierError):
    """A step failed. `code` is a short stable word; `str(error)` is a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.calls: tuple[object, ...] = ()
        """The model calls (`Call`) that were paid for before it failed."""


class Terminal(StepError):
    """Trying again cannot help."""


class Transient(StepError):
    """Trying again may help."""


class Throttled(StepError):
    """The other side asks to wait `retry_after` seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class ContractError(DossierError):
    """Something does not fit the published contract."""


class InvalidMessage(ContractError):
    """A contract message that cannot be taken. `field` names the culprit, empty for the whole message."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Unreadable(ContractError):
    """Stored bytes that are not a fact."""


class UnknownType(ContractError):
    """A fact whose type or version this release does not know."""


class TooLarge(DossierError):
    """A message of more bytes than the contract allows."""


class Unavailable(DossierError):
    """NATS gave no answer in time. The write may or may not have happened; repeating it is safe."""


class NoRoom(Unavailable):
    """NATS has no room for this write, and did not store it. The message says where room has to be made."""


class Diverged(Unavailable):
    """The log in NATS is not the one that was read. The message says how that shows."""


class Refused(DossierError):
    """NATS answered with an error. `code` is JetStream's `err_code` (0 where it gave none)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServerTooOld(DossierError):
    """The server's version lacks atomic batches; the message names the version that has them."""
