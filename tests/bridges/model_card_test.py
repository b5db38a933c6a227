"""The model card shows results, training data and the origin of the weights."""

import dataclasses
import json
import os
import pathlib
import shutil

from absl.testing import absltest

from flan_tf import config
from flan_tf.task import schema
from launch import convert as convert_binary
from tests.helpers import binaries, tiny

TINY = tiny.Tiny()


def setUpModule():
  global BASE, TUNED
  TINY.open()
  BASE, TUNED = str(TINY.folder / "base"), str(TINY.folder / "tuned")
  TINY.train(TINY.run(train__steps=1), BASE)
  TINY.train(TINY.run(train__steps=1, train__init_from=BASE), TUNED)


tearDownModule = TINY.close


def evaluation(checkpoint: str, label: str, value: float, **attributes):
  """Returns results of two tasks, one of which has published scores."""
  from flan_tf.eval import results, task_result

  def task(name: str, cluster: str, values, metric: str = "accuracy"):
    scores = [
      task_result.TemplateScore(i, v, dev=-i) for i, v in enumerate(values)
    ]
    kind = schema.TaskKind.CLASSIFICATION
    return task_result.TaskResult(
      task=name,
      dataset=name,
      cluster=cluster,
      kind=kind,
      metric=metric,
      templates=tuple(scores),
      examples=1_234,
      majority=60.0,
    )

  return results.EvaluationResults(
    checkpoint,
    label,
    (
      task("rte", "nli", (value, value + 3)),
      task("yelp_polarity_reviews", "sentiment", (value,)),
    ),
    **attributes,
  )


class ModelCardTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def source(self, path: str):
    from flan_tf.bridges.native import checkpoint_source

    return checkpoint_source.open_source(path)

  def card(self, source) -> str:
    from flan_tf.bridges import model_card

    text = model_card.checkpoint_card(source, "there")
    return text.replace("\N{NO-BREAK SPACE}", " ")


class ResultsTest(ModelCardTestCase):
  def evaluate(self, both: bool = True, start: str = ".", **attributes) -> str:
    """Writes results as launch.evaluate does, and returns their folder."""
    folder = self.path("evaluation")
    for path, label, name, value in (
      (BASE, "base", "base.json", 50.5),
      (TUNED, "tuned", "results.json", 51.5),
    ):
      checkpoint = os.path.relpath(self.source(path).path, start)
      results = evaluation(
        checkpoint, label, value, held_out="misc", **attributes
      )
      if both or label == "tuned":
        results.write_json(os.path.join(folder, name))
    return folder

  def with_results(self, path: str, results: str):
    from flan_tf.bridges import card_results

    return card_results.with_results(self.source(path), results)

  def test_one_model(self):
    folder = self.evaluate(both=False, not_read={"cb": "not prepared"})
    card = self.card(self.with_results(TUNED, folder))
    for text in (
      "over templates). Held out: misc. Settings: as published.",
      "| task | cluster | metric | templates | tuned | best dev | majority |",
      "| rte | nli | accuracy | 2 | 53.0 (1.5) | 51.5 | 60.0 ± 2.7 | 1,234 |"
      " 78.3 |",
      "| yelp_polarity_reviews | sentiment | accuracy | 1 | 51.5 (0.0) | 51.5 |"
      " 60.0 ± 2.7 | 1,234 | – |",
      "| cb | not prepared |",
      "FLAN 137B zero-shot",
    ):
      self.assertIn(text, card)
    self.assertNotIn("Not evaluated", card)

  def test_both_models(self):
    folder = self.evaluate()
    for path in (folder, os.path.join(folder, "results.json")):
      card = self.card(self.with_results(TUNED, path))
      self.assertIn("| templates | base | tuned | diff. | best dev |", card)
      self.assertIn(
        "| nli | accuracy | 2 | 52.0 (1.5) | 53.0 (1.5) | +1.0 | 50.5 → 51.5 |",
        card,
      )
      self.assertNotIn("directly comparable", card)

  def test_the_untuned_model_alone(self):
    card = self.card(self.with_results(BASE, self.evaluate()))
    self.assertIn("| nli | accuracy | 2 | 52.0 (1.5) | 50.5 | 60.0 ±", card)
    self.assertNotIn("53.0", card)

  def test_settings_that_differ_are_named(self):
    folder = self.evaluate(settings={"shots": 5})
    path = os.path.join(folder, "base.json")
    text = pathlib.Path(path).read_text().replace('"shots": 5', '"shots": 0')
    pathlib.Path(path).write_text(text)
    card = self.card(self.with_results(TUNED, folder))
    self.assertIn("Settings: shots 5.", card)
    self.assertIn(
      "Not directly comparable: The setting shots differs: base 0, tuned 5.",
      card,
    )

  def test_results_of_another_checkpoint_are_refused(self):
    from flan_tf.bridges import model_source

    folder = self.evaluate(both=False)
    other = self.path("other")
    shutil.copytree(TUNED, other)
    for path in (BASE, other):
      with self.assertRaisesRegex(
        model_source.SourceError,
        "results.json has results of .*tuned.*step_00000001, not of .*"
        f"{os.path.basename(path)}.*evaluate it: python -m launch.evaluate",
      ):
        self.with_results(path, folder)
    with self.subTest("a link to the checkpoint is the same checkpoint"):
      os.symlink(TUNED, self.path("link"))
      card = self.card(self.with_results(self.path("link"), folder))
      self.assertIn("53.0 (1.5)", card)

  def test_no_results(self):
    with self.assertRaisesRegex(FileNotFoundError, "No results at .*nowhere"):
      self.with_results(TUNED, self.path("nowhere"))

  def test_results_of_a_model_that_is_no_checkpoint_are_refused(self):
    from flan_tf.bridges import card_results, model_source

    native = self.source(BASE)
    names = [
      field.name for field in dataclasses.fields(model_source.ModelSource)
    ]
    source = model_source.ModelSource(**{n: getattr(native, n) for n in names})
    with self.assertRaisesRegex(
      model_source.SourceError,
      "is no checkpoint of this.* Convert it to native:DIR, evaluate that",
    ):
      card_results.with_results(source, self.evaluate())

  def test_results_are_copied_with_the_checkpoint(self):
    from flan_tf.bridges import convert

    source = self.with_results(TUNED, self.evaluate())
    convert.write_target(source, f"native:{self.path('there')}")
    first = pathlib.Path(self.path("there"), "README.md").read_text()
    self.assertIn("78.3", first)
    again = self.card(self.source(self.path("there")))
    self.assertIn("| 53.0 (1.5) | +1.0 |", again)

  def test_convert_with_results(self):
    # Commands start in the root of the project.
    folder = self.evaluate(start=str(tiny.ROOT))
    flags = (f"--target=native:{self.path('there')}", f"--results={folder}")
    status, _, errors = binaries.call(
      convert_binary, *flags, f"--source=native:{TINY.folder}"
    )
    self.assertEqual(status, 1)
    self.assertNotIn("Traceback", errors)
    status, _, errors = binaries.call(
      convert_binary, *flags, f"--source=native:{TUNED}"
    )
    self.assertEqual(status, 0, errors)
    card = pathlib.Path(self.path("there"), "README.md").read_text()
    self.assertIn("| base | tuned | diff. |", card)


class DataTest(ModelCardTestCase):
  def with_data(self, checkpoint, **data):
    data = checkpoint.data | data
    return dataclasses.replace(checkpoint, data=data)

  def test_the_origin_of_converted_weights(self):
    converted = self.with_data(
      self.source(BASE),
      step=0,
      source="GGUF file a.gguf (llama)",
      note="Converted weights: what they saw before, nobody here knows.",
      mixture={},
      seen={},
    )
    card = self.card(converted)
    self.assertIn("| converted from | GGUF file a.gguf (llama) |", card)
    self.assertIn("what they saw before, nobody here knows.", card)
    self.assertNotIn("| steps |", card)
    with self.subTest("of a model that was tuned from them"):
      from flan_tf.bridges import convert

      # The note is part of the data, which is written unchanged.
      convert.write_target(converted, f"native:{self.path('converted')}")
      tuned = self.source(TUNED)
      run = config.replace(tuned.run, "train", init_from=self.path("converted"))
      card = self.card(dataclasses.replace(tuned, run=run))
      self.assertIn("| started from | ", card)
      self.assertIn("The weights were converted from ", card)
      self.assertIn("what they saw before, nobody here knows.", card)

  def test_new_weights_were_not_converted(self):
    self.assertNotIn("converted from", self.card(self.source(TUNED)))
    run = config.replace(
      self.source(TUNED).run, "train", init_from=self.path("gone")
    )
    gone = dataclasses.replace(self.source(TUNED), run=run)
    self.assertNotIn("converted from", self.card(gone))

  def test_training_on_a_file(self):
    from flan_tf.api.training import train

    path = pathlib.Path(self.path("answers.jsonl"))
    line = json.dumps({"prompt": "Is it so?", "answer": "yes"}) + "\n"
    path.write_text(line * 20)
    workdir = self.path("student")
    run = TINY.run(
      data__tasks="sst2", data__files=str(path), train__steps=1, held_out="nli"
    )
    train(run, workdir)
    card = self.card(self.source(workdir))
    self.assertIn("| answers | files | train[0:18] | 18 |", card)
    self.assertRegex(
      card,
      "`answers`: from .*answers.jsonl, fingerprint [0-9a-f]{8}; 20 of 20 lines"
      " do not name the cluster that they were made from, so held-out tasks may"
      " be among them.",
    )
    with self.subTest("also in an earlier run"):
      later = self.with_data(self.source(TUNED), seen={"answers": "files"})
      card = self.card(later)
      self.assertIn("from weights that had seen: answers (files).", card)
      self.assertIn("not known which data sets the files were made from", card)

  def test_a_chat_template(self):
    source = self.source(TUNED)
    chat = config.ChatConfig("<user>", "<model>", "<end>")
    source = dataclasses.replace(source, separator="chat", chat=chat)
    self.assertIn(
      "have the form '<user>{prompt}<model>{answer}<end>'.", self.card(source)
    )


if __name__ == "__main__":
  absltest.main()
