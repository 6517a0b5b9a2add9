"""A warning, and held-out scores, in words: the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from foldmon.journal.schema import WarningEvent

_SOON = 60.0  # seconds of training


def warning_text(event: WarningEvent) -> str:
    """Step, severity and reasons in one line, the sentence for people first.

    Example:
        >>> warning_text({"step": 1200, "severity": 2, "reasons": ["Held-out accuracy fell.", "phi rose."]})
        'step 1,200 (severity 2): Held-out accuracy fell. phi rose.'
    """
    return f"step {event['step']:,} (severity {event['severity']}): {joined(event['reasons'])}"


def joined(reasons: Sequence[str]) -> str:
    """Reasons one after the other, as sentences where they are some.

    Example:
        >>> joined(["It fell.", "It rose."]), joined(["a fall", "a rise"])
        ('It fell. It rose.', 'a fall; a rise')
    """
    text = ""
    for reason in reasons:
        text += (" " if text.endswith((".", "!", "?")) else "; ") * bool(text) + reason
    return text


def scores_text(accuracy: float | None, loss: float | None) -> str:
    """Held-out scores in words; empty where neither is known.

    Example:
        >>> scores_text(0.8512, 0.41), scores_text(None, 0.41), scores_text(None, None)
        ('held-out accuracy 85.1%, loss 0.4100', 'held-out loss 0.4100', '')
    """
    known = [] if accuracy is None else [f"accuracy {accuracy:.1%}"]
    known += [] if loss is None else [f"loss {loss:.4f}"]
    return f"held-out {', '.join(known)}" if known else ""


def cost_text(seconds: float | None, share: float | None) -> str:
    """What measuring has cost, in seconds; as a share of the training time once that tells something.

    Of a run of few seconds the allowance of one is a large share, and nothing that anyone minds.

    Args:
        seconds: that probes have cost, None where an old journal does not tell.
        share: of the training time.

    Example:
        >>> cost_text(0.6, 0.45), cost_text(2.2, 0.012), cost_text(None, 0.012), cost_text(None, None)
        ('cost 0.60 s', 'cost 2.20 s, 1.2%', 'cost 1.2%', '')
    """
    if seconds is None or share is None:
        return "" if share is None else f"cost {share:.1%}"
    late = share > 0 and seconds > _SOON * share
    return f"cost {seconds:.2f} s" + (f", {share:.1%}" if late else "")
