"""Who may decide on a run, in words."""

from shared.domain.approval import votes
from shared.domain.run import Run


def deciders(run: Run) -> str:
    """Whose decision this run waits for."""
    hold = run.current.hold.fact if run.current.hold else None
    if hold is None or (hold.quorum == 1 and not hold.four_eyes):
        return (
            "anyone with an approver's key or the token of the data folder, or whom NATS permits to publish "
            "research.approved or research.rejected"
        )
    many = "somebody" if hold.quorum == 1 else f"{hold.quorum} people"
    but = ", but not whoever asked" if hold.four_eyes else ""
    done = f", of whom {', '.join(vote.fact.by for vote in cast)} did" if (cast := votes(run.current)) else ""
    return f"{many} with an approver's key{but}{done}; to reject it, any one of them"
