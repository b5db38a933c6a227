"""Fingerprints: 16 hexadecimal digits of what an evaluation depends on.

Equal fingerprints mean equal content, no matter where it is stored. Prediction
logs and results.json contain fingerprints. So the texts that are hashed here
must never change, whatever the classes and their fields are called.
"""

from collections.abc import Iterable, Sequence

from flan_tf.checkpoints import base_model
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.data.requests import Example
from flan_tf.task import schema


def fingerprint_checkpoint(path: str, adapter_base: str = "") -> str:
  """Returns the fingerprint of a checkpoint's weights and vocabulary.

  For adapters it depends on the weights that they were trained on, too.

  Args:
    path: the checkpoint.
    adapter_base: for adapters, where the model that they adapt lies now; by
      default where it was.

  Raises:
    CheckpointError: a file of the checkpoint is missing.
  """
  return Bundle.open(path, adapter_base).fingerprint


def fingerprint_requests(
  templates: Sequence[schema.Template],
  examples: Iterable[Example],
  prompt_format: PromptFormat,
  baseline: schema.Baseline | None,
) -> str:
  """Returns the fingerprint of everything that requests are written from.

  Args:
    templates: the templates that are evaluated.
    examples: test rows, dev rows and the rows that exemplars are drawn from.
    prompt_format: the prompt format of the evaluation.
    baseline: the task's baseline prompt, if it has one.
  """
  return fingerprint_texts(
    [
      f"[{', '.join(map(_template_text, templates))}]",
      *map(_example_text, examples),
      _prompt_format_text(prompt_format),
      "None" if baseline is None else _baseline_text(baseline),
    ]
  )


def fingerprint_texts(texts: Iterable[str]) -> str:
  """Returns the fingerprint of texts in their order."""
  return base_model.fingerprint(text.encode() for text in texts)


def _template_text(template: schema.Template) -> str:
  return f"Template(inputs={template.inputs!r}, target={template.target!r})"


def _baseline_text(baseline: schema.Baseline) -> str:
  return (
    f"Baseline(inputs={baseline.inputs!r}, options={baseline.options!r},"
    f" stops={baseline.stops!r})"
  )


def _example_text(example: Example) -> str:
  return (
    f"EvaluationRow(row={example.row_index!r}, slots={example.slots!r},"
    f" options={example.options!r}, answer_index={example.answer_index!r},"
    f" references={example.references!r}, group={example.group!r})"
  )


def _prompt_format_text(prompt_format: PromptFormat) -> str:
  overflow, separator = prompt_format.overflow, prompt_format.separator
  chat = prompt_format.chat
  return (
    f"Limits(input_length={prompt_format.input_length!r},"
    f" target_length={prompt_format.target_length!r},"
    f" row_length={prompt_format.example_length!r},"
    f" overflow=<Overflow.{overflow.name}: {overflow.value!r}>,"
    f" separator=<Separator.{separator.name}: {separator.value!r}>,"
    f" chat=ChatConfig(before={chat.before!r}, between={chat.between!r},"
    f" after={chat.after!r}))"
  )
