"""The export kinds by name, in the order in which they are offered."""

from annotations.export.formats.flow_prompts import FlowMetadata, FlowPrompts
from annotations.export.formats.genref import GenRef
from annotations.export.formats.janus_pro_r1 import JanusProR1
from annotations.export.formats.pickapic import PickAPic
from annotations.export.formats.richhf import RichHf
from annotations.export.formats.umm_reflection import UmmReflection
from annotations.export.formats.unicot import UniCot
from annotations.export.formats.verl_dpo import VerlDpo
from annotations.export.formats.visual_reflection_v1 import VisualReflection
from annotations.export.kind import ExportKind
from annotations.export.kinds.answers import AnswersKind
from annotations.export.kinds.draw_sft import DrawSft
from annotations.export.kinds.edit_sft import EditSft
from annotations.export.kinds.image_pref import ImagePref
from annotations.export.kinds.judge_kto import JudgeKto
from annotations.export.kinds.judge_pref import JudgePref
from annotations.export.kinds.judge_sft import JudgeSft
from annotations.export.kinds.ours import Ours
from annotations.export.kinds.prompts import Prompts
from annotations.export.kinds.redraw_sft import RedrawSft
from annotations.export.kinds.reward import Reward
from annotations.export.kinds.thought_pref import ThoughtPref
from annotations.export.kinds.thought_sft import ThoughtSft
from annotations.export.kinds.trajectory import TrajectoryKind

KINDS: dict[str, ExportKind] = {
    kind.name: kind
    for kind in (
        JudgeSft(),
        JudgePref(),
        JudgeKto(),
        ThoughtSft(),
        ThoughtPref(),
        DrawSft(),
        RedrawSft(),
        EditSft(),
        ImagePref(),
        Reward(),
        Prompts(),
        TrajectoryKind(),
        AnswersKind(),
        Ours(),
        PickAPic(),
        RichHf(),
        JanusProR1(),
        VisualReflection(),
        UmmReflection(),
        UniCot(),
        VerlDpo(),
        FlowPrompts(),
        FlowMetadata(),
        GenRef(),
    )
}
