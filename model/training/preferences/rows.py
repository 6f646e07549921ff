"""Rows of people's preferences as training sequences: of reflections (`judge_pref`), plans (`thought_pref`), drawings
(`image_pref`), and labelled reflections (`judge_kto`)."""

from dataclasses import replace

from model.backends.janus import Janus
from model.examples import LabelledExample, PreferenceExample
from model.messages import MessageError
from model.sequences import size
from model.training.batch import length
from model.training.dataset import RowBounds, RowFormat, example_sequence, sequence_of
from model.training.preferences.reference import ReferencedRow
from model.training.sources import Indexed
from model.training.training_sequences import TrainingSequence


def pair_of(janus: Janus, example: PreferenceExample, bounds: RowBounds) -> ReferencedRow:
    """Chosen and rejected. Raises MessageError for what cannot be learnt."""
    chosen, rejected = (example_sequence(janus, each, bounds) for each in (example.chosen, example.rejected))
    if chosen.pieces == rejected.pieces:
        raise MessageError("chosen and rejected have the same image codes; wanted two that differ")
    return ReferencedRow((chosen, rejected), example.weight)


def labelled_of(janus: Janus, example: LabelledExample, bounds: RowBounds) -> ReferencedRow:
    """One reflection. Raises MessageError for what cannot be learnt."""
    sequence = sequence_of(janus, example.example, bounds)
    return ReferencedRow((sequence,), example.example.weight, label=example.label)


PREFERENCE_ROWS = RowFormat(("judge_pref", "thought_pref", "image_pref"), PreferenceExample.from_row, pair_of)
LABELLED_ROWS = RowFormat(("judge_kto",), LabelledExample.from_row, labelled_of)


class MismatchedRows:
    """Labelled rows, each with a second sequence: its prompt and images with the completion of the row before it."""

    def __init__(self, janus: Janus, rows: Indexed):
        self.janus, self.rows = janus, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ReferencedRow:
        row, other = self.rows[index], self.rows[(index - 1) % len(self)]
        mismatched = with_completion_of(row.sequences[0], other.sequences[0], self.janus.image_codes)
        return replace(row, sequences=(*row.sequences, mismatched))


def with_completion_of(sequence: TrainingSequence, other: TrainingSequence, image_codes: int) -> TrainingSequence:
    """A sequence with its last piece, which is all that is scored of it, replaced by another's."""
    last = other.pieces[-1]
    begin = length(sequence, image_codes) - size(sequence.pieces[-1], image_codes)
    shift = begin - (length(other, image_codes) - size(last, image_codes))
    targets = tuple(replace(each, positions=tuple(at + shift for at in each.positions)) for each in other.targets)
    return replace(sequence, pieces=(*sequence.pieces[:-1], last), targets=targets)
