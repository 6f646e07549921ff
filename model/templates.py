"""Exact prompt strings of Janus and Janus-Pro-R1, and a Jinja chat template that renders training rows.

Two streams share the strings. The *drawing* stream sees earlier images as their codes (generation embeddings) and
holds the thoughts. The *judging* stream sees them as pixels (understanding embeddings) and leaves the thoughts out:
it must look at the picture, not compare two texts. Source: Janus-Pro-R1, inference code and appendix B.4. No torch.
"""

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
EDIT_TEXT = "Edit:"  # what to change, behind the reason; of checkpoints that were trained to write it


def ask(prompt: str) -> str:
    """The user's turn, open for the assistant's: a thought or `BEGIN_IMAGE` follows."""
    return f"{USER}: {prompt.strip()}\n\n{ASSISTANT}:"


def edit() -> tuple[str, str, str]:
    """The text before an image that is to be edited, between it and the instruction, and after the instruction."""
    return f"{USER}: {BEGIN_IMAGE}", END_IMAGE, f" Please generate an image.\n\n{ASSISTANT}:"


# The templates, for tools that read a checkpoint's chat template (Jinja). Of the rows that `model.examples` declares it
# makes the sequence of the judging stream: a drawn image, the self-check and the invitation to redraw are no turns of
# their own. Other conversations come out as DeepSeek writes them. A special token in a user's words is broken up.
_BROKEN_UP = " ".join(f"| replace('{token}', '{token[0]} {token[1:]}')" for token in SPECIAL_TOKENS)
CHAT_TEMPLATE = (
    """
{%- macro trimmed(content) -%}
  {%- for part in ([{'type': 'text', 'text': content}] if content is string else content) -%}
    {%- if part.type == 'image' -%}
      {{- ('' if loop.first else '\n') + 'IMAGE' + ('' if loop.last else '\n') -}}
    {%- else -%}
      {%- set text = part.text BROKEN_UP -%}
      {%- set text = text.lstrip() if loop.first else text -%}
      {%- set text = text.rstrip() if loop.last else text -%}
      {{- (' ' if not loop.first and loop.previtem.type == 'text' else '') + text -}}
    {%- endif -%}
  {%- endfor -%}
{%- endmacro -%}
{{- 'BOS' -}}
{%- set last = namespace(was='') -%}
{%- for message in messages -%}
  {%- set content = [{'type': 'text', 'text': message.content}] if message.content is string else message.content -%}
  {%- set only = content[0] if content | length == 1 else {'type': '', 'text': ''} -%}
  {%- if message.role == 'user' and only.text == 'CHECK' and last.was == 'drawn' -%}
    {{- '\n' + only.text -}}{%- set last.was = 'check' -%}
  {%- elif message.role == 'user' and only.text == 'CONNECT' and last.was == 'judged' -%}
    {{- '\n' + only.text -}}{%- set last.was = 'connect' -%}
  {%- elif message.role == 'assistant' and only.type == 'image' -%}
    {{- ('' if last.was == 'connect' else 'ASSISTANT:') + 'IMAGE' -}}{%- set last.was = 'drawn' -%}
  {%- elif message.role == 'assistant' and last.was == 'check' -%}
    {%- for part in content -%}{{- part.text -}}{%- endfor -%}{{- 'EOS' -}}{%- set last.was = 'judged' -%}
  {%- elif message.role == 'assistant' -%}
    {{- 'ASSISTANT: ' + trimmed(content) + 'EOS' -}}{%- set last.was = 'answered' -%}
  {%- else -%}
    {{- 'EOS' if last.was == 'drawn' else '' -}}
    {{- ('USER' if message.role == 'user' else message.role | capitalize) + ': ' + trimmed(content) -}}
    {{- '\n\n' if not loop.last or add_generation_prompt else '' -}}{%- set last.was = 'asked' -%}
  {%- endif -%}
{%- endfor -%}
{{- 'ASSISTANT:' if add_generation_prompt and last.was not in ('check', 'connect') else '' -}}
""".strip()
    .replace("BROKEN_UP", _BROKEN_UP)
    .replace("IMAGE", IMAGE_PLACEHOLDER)
    .replace("ASSISTANT", ASSISTANT)
    .replace("USER", USER)
    .replace("CHECK", CHECK_TEXT)
    .replace("CONNECT", CONNECT_TEXT)
    .replace("BOS", BOS)
    .replace("EOS", EOS)
)
