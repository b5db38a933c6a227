"""Run configurations: invalid values, run.json, and the shipped run files."""

import json
import math
import pathlib
import runpy

from absl.testing import absltest, parameterized

import tasks
from flan_tf import config, name_lists
from flan_tf.task import holdout, registry

ROOT = pathlib.Path(__file__).absolute().parents[2]
RUN_FILES = sorted(
  path.name
  for path in (ROOT / "launch/configs").glob("*.py")
  if "def get_config(" in path.read_text()
)


def build(where: str, value) -> config.RunConfig:
  """Returns the default run with one dotted key changed."""
  for name in reversed(where.split(".")):
    value = {name: value}
  return config.from_mapping(value)


class RunConfigTest(parameterized.TestCase):
  def test_defaults(self):
    self.assertEqual(config.from_mapping({}), config.RunConfig())

  def test_nested_values(self):
    run = build("train.steps", 7)
    self.assertEqual(run.train.steps, 7)
    self.assertEqual(run.data, config.DataConfig())

  def test_a_whole_number_may_stand_for_a_real_one(self):
    rate = build("train.learning_rate", 1).train.learning_rate
    self.assertIsInstance(rate, float)

  @parameterized.parameters(
    ("train.stesp", 3, r"key 'train.stesp'. Did you mean 'train.steps'\?"),
    ("modle", {}, r"key 'modle'. Did you mean 'model'\? Known: adapter, "),
    ("zzz", 1, r"key 'zzz'. Known: adapter"),
    ("train.steps", "7", "train.steps: expected int, got '7'"),
    ("train.steps", 7.5, "train.steps: expected int, got 7.5"),
    ("train.learning_rate", "high", "expected float, got 'high'"),
    ("data.shuffle_labels", 1, "data.shuffle_labels: expected bool, got 1"),
    ("data.vocabulary", None, "data.vocabulary: expected str, got None"),
    ("data.objective", "instruction", "Did you mean 'instructions'"),
    ("data.overflow", "start", "data.overflow: .*'start'.* end, middle, skip"),
    ("data.separator", "none", "data.separator: Unknown value 'none'"),
    ("model.mlp", "gegelu", "model.mlp: .*Did you mean 'geglu'"),
    ("model.positions", "sine", "Known: learned, rotary, t5"),
    ("mesh.precision", "bfloat61", "Did you mean 'bfloat16'"),
    ("train.schedule", "cosin", "Did you mean 'cosine'"),
    ("train.steps", 0, "train.steps: expected a positive number, got 0"),
    ("train.keep", 0, "train.keep: expected a positive number"),
    ("data.length", -1, "data.length: expected a positive number, got -1"),
    ("model.heads", 0, "model.heads: expected a positive number"),
    ("train.microbatches", 3, "8 rows do not split into 3 microbatches"),
  )
  def test_refused(self, where, value, message):
    with self.assertRaisesRegex(ValueError, message):
      build(where, value)

  @parameterized.parameters(
    "model.query_scale",
    "model.attention_cap",
    "model.logit_cap",
    "model.rotary_base",
    "model.rotary_factor",
    "model.rotary_low_frequency",
    "model.rotary_high_frequency",
    "model.norm_epsilon",
    "adapter.lora_alpha",
    "train.learning_rate",
    "train.clip_norm",
    "train.weight_decay",
  )
  def test_real_numbers_are_finite_and_not_negative(self, where):
    for value in (math.nan, math.inf, 1e39, 10**400, -1.0):
      with self.assertRaisesRegex(
        ValueError, f"{where}: expected (a n|0 or m)"
      ):
        build(where, value)

  @parameterized.parameters(
    ("model.norm_epsilon", 0.0, "norm_epsilon: expected a number above 0"),
    ("model.rotary_base", 1e-60, "expected a number above 0 .*, got 1e-60"),
    ("model.logit_cap", 1e-60, "expected a number above 0 .*, got 1e-60"),
    ("train.clip_norm", math.inf, r"got inf\. 0 sets no limit\."),
    ("train.weight_decay", 1e5, "weight away, and 100000.0 . 3e-05 is more"),
    ("train.learning_rate", True, "expected float, got True"),
    ("train.steps", True, "train.steps: expected int, got True"),
    ("train.steps", 10**12, "steps: expected 2,147,483,647 or less, got 10+:"),
    ("train.warmup", -1, "train.warmup: expected 0 or more, got -1"),
    ("train.batch", 10**6, "rows of 1,280 tokens .* are 1,280,000,000 tokens"),
    ("train.profile_steps", "1-²", "cannot read '1-²'; write FIRST-LAST"),
    ("train.profile_steps", "1-" + "9" * 5000, "write FIRST-LAST"),
    ("data.length", 10**20, "length: expected 1,048,576 or less, got 10+: a r"),
    ("data.train_cap", 10**20, "rows are counted in 64 bits"),
    ("model.layers", 99999999, "expected 10,000 or less, .* no published mode"),
    ("model.vocab", 10**12, "model.vocab: expected 16,777,216 or less"),
    ("model.pieces", -1, "model.pieces: expected 0 or more, got -1"),
    ("model.kv_heads", -2, "model.kv_heads: expected 0 or more, got -2"),
    ("model.window", -5, "model.window: expected 0 or more, got -5"),
    ("adapter.lora_rank", 10**9, "expected 16,777,216 or less"),
    ("mesh.platform", "nan", "mesh.platform: Unknown value 'nan'. Known: auto"),
    ("seed", 10**20, "seed: expected a number of 64 bits"),
  )
  def test_senseless_numbers(self, where, value, message):
    with self.assertRaisesRegex(ValueError, message):
      build(where, value)

  @parameterized.parameters(
    ("train.clip_norm", 0.0),
    ("train.learning_rate", 0.0),
    ("model.query_scale", 0.0),
    ("data.mixing_cap", 10**12),
    ("data.length", 10**6),
    ("seed", -1),
  )
  def test_numbers_at_the_edge(self, where, value):
    build(where, value)

  def test_numbers_that_depend_on_others(self):
    with self.assertRaisesRegex(ValueError, r"rows \(128\), got 999"):
      config.ModelConfig(vocab=128, pieces=999)
    with self.assertRaisesRegex(ValueError, r"more than .* \(4.0\), got 4.0"):
      config.ModelConfig(rotary_scaling="llama3", rotary_low_frequency=4.0)
    with self.assertRaisesRegex(ValueError, "seed: expected 0 or more, got -1"):
      config.RunConfig(seed=-1, adapter=config.AdapterConfig(soft_prompt=3))

  def test_a_value_where_settings_belong(self):
    with self.assertRaisesRegex(ValueError, "train: expected settings, got 3"):
      build("train", 3)

  def test_rotary_needs_an_even_size(self):
    with self.assertRaisesRegex(ValueError, "even size, got 7"):
      config.ModelConfig(positions="rotary", d_kv=7)

  def test_json_and_back(self):
    run = build("data.tasks", 'rte, "cb"')
    self.assertEqual(config.from_json(config.to_json(run)), run)
    as_dict = config.to_config_dict(run).to_dict()
    self.assertEqual(config.from_mapping(as_dict), run)

  def test_keys_of_flags(self):
    for key in ("name", "train.steps", "data.shuffle_labels"):
      config.check_key(key)
    with self.assertRaisesRegex(ValueError, r"Did you mean 'mesh.shape'\?"):
      config.check_key("mesh.shap")
    with self.assertRaisesRegex(
      ValueError, "Unknown configuration key 'train'"
    ):
      config.check_key("train")

  @parameterized.parameters(
    (" rte,cb ,",), (("rte", "cb"),), (["rte", " cb"],), ("rte,cb",)
  )
  def test_lists_of_names(self, names):
    data = config.DataConfig(tasks=names, clusters="")
    self.assertEqual(data.tasks, ("rte", "cb"))
    self.assertEqual(data.clusters, ())
    self.assertEqual(build("data.tasks", names).data, data)

  def test_lists_of_names_are_one_string_in_run_json_and_for_flags(self):
    run = config.RunConfig(
      held_out=("nli", "misc"),
      data=config.DataConfig(tasks=("rte", "cb"), files=("a.jsonl",)),
    )
    weights = (
      "attention/q,attention/k,attention/v,attention/o,mlp/gate,mlp/in,mlp/out"
    )
    for values in (
      config.to_dict(run),
      json.loads(config.to_json(run)),
      config.to_config_dict(run).to_dict(),
    ):
      self.assertEqual(values["held_out"], "nli,misc")
      self.assertEqual(values["data"]["tasks"], "rte,cb")
      self.assertEqual(values["data"]["clusters"], "")
      self.assertEqual(values["data"]["files"], "a.jsonl")
      self.assertEqual(values["adapter"]["lora_weights"], weights)
      self.assertEqual(config.from_mapping(values), run)

  @parameterized.parameters(
    ("data.tasks", 7, "data.tasks: expected names, as a tuple of .*, got 7"),
    ("held_out", [1], r"held_out: expected names, .*, got \[1\]"),
    ("data.files", ["a,b"], "data.files: .* without commas, got 'a,b'"),
    ("adapter.lora_weights", "mlp/up", "Unknown value 'mlp/up'"),
  )
  def test_lists_of_names_that_are_none(self, where, value, message):
    with self.assertRaisesRegex(ValueError, message):
      build(where, value)


class RunFileTest(parameterized.TestCase):
  @parameterized.parameters(*RUN_FILES)
  def test_builds(self, name):
    module = runpy.run_path(str(ROOT / "launch/configs" / name))
    run = config.from_mapping(module["get_config"]().to_dict())
    self.assertNotEmpty(run.name)
    self.assertIn(f"--config=launch/configs/{name}", module["__doc__"])
    chosen = holdout.chosen_training_tasks(
      registry.TaskRegistry(tasks.ALL),
      run.held_out,
      run.data.tasks,
      run.data.clusters,
    )
    self.assertNotEmpty(chosen)
    longest = run.data.input_length + run.data.target_length
    if run.data.objective == "instructions":
      self.assertGreaterEqual(run.data.length, longest)

  def test_there_are_some(self):
    self.assertNotEmpty(RUN_FILES)


class ChosenTasksTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.registry = registry.TaskRegistry(tasks.ALL)

  def chosen(self, held_out="", *arguments) -> set[str]:
    found = holdout.chosen_training_tasks(
      self.registry, name_lists.split_names(held_out), *arguments
    )
    return {task.name for task in found}

  def test_all(self):
    trained = {task.name for task in tasks.ALL if task.trains}
    self.assertEqual(self.chosen(), trained)

  @parameterized.parameters(
    ("nli", ("nli", "paraphrase")),
    ("paraphrase", ("nli", "paraphrase")),
    ("sentiment", ("sentiment",)),
    ("translation", ("translation",)),
  )
  def test_a_held_out_cluster_leaves_with_its_relatives(self, held_out, gone):
    for task in tasks.ALL:
      self.assertEqual(
        task.name in self.chosen(held_out),
        task.trains and task.cluster not in gone,
        task.name,
      )

  def test_names_and_clusters_add_up(self):
    found = self.chosen("nli", ("sst2",), ("translation",))
    self.assertIn("sst2", found)
    self.assertIn("wmt16_translate_deen", found)
    self.assertNotIn("imdb_reviews", found)

  def test_forbidden_names(self):
    with self.assertRaisesRegex(
      ValueError,
      "With 'nli' held out, no task of nli, paraphrase may train, but rte,"
      " glue_mrpc would",
    ):
      self.chosen("nli", ("rte", "sst2", "glue_mrpc"))
    with self.assertRaisesRegex(ValueError, "but .*snli.* would"):
      self.chosen("nli", (), ("nli",))

  def test_unknown_names(self):
    with self.assertRaisesRegex(
      ValueError, r"task 'rtee'. Did you mean 'rte'\?"
    ):
      self.chosen("", ("rtee",))
    with self.assertRaisesRegex(ValueError, "Did you mean 'sentiment'"):
      self.chosen("", (), ("sentimant",))
    with self.assertRaisesRegex(
      ValueError, "Unknown cluster or task 'nil'.*'nli'"
    ):
      self.chosen("nil")


if __name__ == "__main__":
  absltest.main()
