"""What a question can be about: a kind of segment, a whole trajectory, a pair of trajectories."""

from model.trajectory import SEGMENTS

WHOLE, PAIR = "trajectory", "pair"
QUESTION_TARGETS = (*SEGMENTS, WHOLE, PAIR)
