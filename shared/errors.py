"""The errors of Dossier, one tree. The class says whose fault it is; `code` decides, the text explains.

DossierError
├── StepError            a step failed; `decide_retry` decides what follows
│   ├── Terminal         a retry cannot help: bad input, refused, 401, quota exhausted
│   ├── Throttled        the other side asks to wait: 429, or 503 with Retry-After
│   └── Transient        a retry may help: time-outs, resets, 5xx
├── ContractError        a message or an argument breaks the published contract
│   ├── InvalidMessage   an invalid contract message: names field and reason
│   ├── Unreadable       stored bytes that are not a fact
│   └── UnknownType      a fact of a type or version that this release does not know
├── TooLarge             a message above the limit, refused before it is sent
├── Unavailable          NATS does not answer, or not in time
│   ├── LogFull          NATS answers that it is full; it takes the same write once there is room
│   └── Diverged         the log in NATS is not the one that was read; nothing is written until it is read anew
├── Refused              NATS answers with an error
└── ServerTooOld         the NATS server lacks atomic batches
"""


class DossierError(Exception):
    """Base of all errors that Dossier raises on purpose."""


class StepError(DossierError):
    """Failure of a step. `code` is a short stable word, `message` a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.calls: tuple[object, ...] = ()
        """The model calls (`Call`) that were made before it failed."""


class Terminal(StepError):
    """A failure that a retry cannot help."""


class Transient(StepError):
    """A failure that a retry may help."""


class Throttled(StepError):
    """The other side asks to wait `retry_after` seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class ContractError(DossierError):
    """A message or an argument breaks the published contract."""


class InvalidMessage(ContractError):
    """An invalid contract message. `field` is the path of the invalid field, empty for the whole message."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Unreadable(ContractError):
    """Stored bytes that are not a fact."""


class UnknownType(ContractError):
    """A fact of a type or version that this release does not know."""


class TooLarge(DossierError):
    """A message or text above the contract's limit. It was not sent."""


class Unavailable(DossierError):
    """NATS gave no answer in time. The write may or may not have happened; repeating it is safe."""


class LogFull(Unavailable):
    """NATS has no room for this write and did not store it. The text says where room has to be made."""


class Diverged(Unavailable):
    """The log in NATS is not the one that was read. The text says how that was noticed."""


class Refused(DossierError):
    """NATS answered with an error. `code` is JetStream's `err_code`, 0 if it gave none."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServerTooOld(DossierError):
    """The server's version lacks atomic batches. The text names the oldest version that has them."""
