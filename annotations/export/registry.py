"""The export kinds by name, in the order in which they are offered."""

from annotations.export.kind import Kind
from annotations.export.kinds.answers import AnswersKind
from annotations.export.kinds.judge_sft import JudgeSft

KINDS: dict[str, Kind] = {kind.name: kind for kind in (JudgeSft(), AnswersKind())}
