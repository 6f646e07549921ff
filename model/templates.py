"""The exact strings of Janus and Janus-Pro-R1, and how a trajectory becomes a sequence.

Two streams share the strings. The *drawing* stream sees earlier images as their codes (generation embeddings) and
holds the thoughts. The *judging* stream sees them as pixels (understanding embeddings) and leaves the thoughts out:
it must look at the picture, not compare two texts. Source: Janus-Pro-R1, inference code and appendix B.4. No torch.
"""

from __future__ import annotations

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
BEGIN_IMAGE = "<begin_of_image>"
END_IMAGE = "<end_of_image>"
IMAGE_PLACEHOLDER = "<image_placeholder>"
USER = "<|User|>"
ASSISTANT = "<|Assistant|>"
SPECIAL_TOKENS = (BOS, EOS, PAD, BEGIN_IMAGE, END_IMAGE, IMAGE_PLACEHOLDER, USER, ASSISTANT)

CHECK_TEXT = "Let me think Does this image match the prompt..."
CONNECT_TEXT = "Next, I will draw a new image"
CHECK = f"{END_IMAGE}\n{CHECK_TEXT}"
CONNECT = f"{EOS}\n{CONNECT_TEXT}"
YES, NO = "Yes", "No"


def ask(prompt: str) -> str:
    """The user's turn, open for the assistant's: a thought or `BEGIN_IMAGE` follows."""
    return f"{USER}: {prompt.strip()}\n\n{ASSISTANT}:"


def edit() -> tuple[str, str, str]:
    """The text before an image that is to be edited, between it and the instruction, and after the instruction."""
    return f"{USER}: {BEGIN_IMAGE}", END_IMAGE, f" Please generate an image.\n\n{ASSISTANT}:"


# The templates, for tools that read a checkpoint's chat template (Jinja).
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|User|>' if message.role == 'user' else '<|Assistant|>' }}: "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image_placeholder>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}"
    "{{ '\n\n' if message.role == 'user' else '<｜end▁of▁sentence｜>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)
