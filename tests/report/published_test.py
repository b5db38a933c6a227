"""Published scores give the averages that the paper prints."""

import dataclasses

from absl.testing import absltest, parameterized

import tasks
from flan_tf.eval import results, task_result
from flan_tf.report import cells, paper_averages, published, tables
from flan_tf.report.comparison import Comparison
from flan_tf.task import registry

_TASKS = registry.TaskRegistry(tasks.ALL)
# Figure 9's few-shot mean of closed-book QA depends on scores that could not be
# checked.
_NOT_REPRODUCED = {
  ("all four closed-book QA tasks (Figure 9)", published.FLAN_FEW)
}


def _result(name, value, metric="", **others):
  task = _TASKS.get(name)
  return task_result.TaskResult(
    task=name,
    dataset=task.dataset,
    cluster=task.cluster,
    kind=task.kind,
    metric=metric or published.PUBLISHED[name].metric,
    templates=(task_result.TemplateScore(0, test=value, others=others),),
    examples=1000,
  )


def _as_results(system, wiki):
  """Returns a system's published scores as if they were our results."""
  scores = dict(published.PUBLISHED)
  if wiki:
    scores["trivia_qa"] = published.TRIVIA_QA_WIKI
  values = {name: score.mean(system) for name, score in scores.items()}
  return results.EvaluationResults(
    checkpoint="the paper",
    label=system,
    tasks=tuple(
      _result(name, value)
      for name, value in values.items()
      if value is not None
    ),
  )


def _averages(evaluation):
  """Returns name -> our mean, for each average that shares a task."""
  return {
    average.named.name: average.own[0]
    for average in paper_averages.compared_averages([evaluation])
  }


class NamedAveragesTest(parameterized.TestCase):
  @parameterized.named_parameters(
    (f"{named_average.name}, {system}", named_average, system, printed)
    for named_average in paper_averages.AVERAGES
    for system, printed in named_average.printed.items()
    if (named_average.name, system) not in _NOT_REPRODUCED
  )
  def test_published_cells_give_the_printed_mean(
    self, average, system, printed
  ):
    evaluation = _as_results(system, wiki="Figure 1" in average.name)
    own = _averages(evaluation)[average.name]
    self.assertAlmostEqual(own.value, printed, delta=0.0501)
    self.assertEmpty(own.missing + own.other_metric)

  def test_flan_zero_shot_averages_of_figure_1(self):
    evaluation = _as_results(published.FLAN_ZERO, wiki=True)
    texts = [
      paper_averages.format_average(own)
      for name, own in _averages(evaluation).items()
      if "Figure 1" in name
    ]
    self.assertEqual(texts, ["56.2", "77.4", "56.6"])

  def test_the_mean_of_all_tasks_of_a_cluster_is_another(self):
    evaluation = _as_results(published.FLAN_ZERO, wiki=False)
    clusters = evaluation.clusters
    self.assertAlmostEqual(clusters["nli"], 54.7, delta=0.05)
    self.assertAlmostEqual(clusters["closed_book_qa"], 53.7, delta=0.05)
    headings, *rows = tables.averages(Comparison.load([evaluation]))
    self.assertEqual(headings[1:], [evaluation.label, *published.SYSTEMS])
    self.assertIn(
      [
        "ANLI R1 to R3, CB, RTE (Figure 1)",
        "56.2",
        "42.9",
        "53.2",
        "56.2",
        "–",
      ],
      rows,
    )

  def test_a_missing_task_is_named(self):
    every = _as_results(published.FLAN_ZERO, wiki=True)
    some = [r for r in every.tasks if r.task in ("anli_r1", "cb")]
    evaluation = dataclasses.replace(every, tasks=tuple(some))
    nli, all_of_nli = _averages(evaluation).values()
    self.assertIsNone(nli.value)
    self.assertEqual(nli.missing, ("anli_r2", "anli_r3", "rte"))
    self.assertEqual(
      paper_averages.format_average(nli), "missing: anli_r2, anli_r3, rte"
    )
    self.assertLen(all_of_nli.missing, 8)
    self.assertLen(tables.averages(Comparison.load([evaluation])), 1)

  def test_the_metric_is_the_paper_s_where_we_have_it(self):
    (average,) = [
      a for a in paper_averages.AVERAGES if a.name.startswith("ANLI")
    ]
    evaluation = _as_results(published.FLAN_ZERO, wiki=True)
    others = [r for r in evaluation.tasks if r.task != "cb"]

    def own_average(cb):
      return paper_averages.own_average(
        dataclasses.replace(evaluation, tasks=(*others, cb)), average
      )

    with_accuracy = _result("cb", 1.0, "macro_f1", accuracy=64.1)
    self.assertAlmostEqual(own_average(with_accuracy).value, 56.2)
    own = own_average(_result("cb", 64.1, "macro_f1"))
    self.assertEqual(own.other_metric, ("cb",))
    self.assertEqual(paper_averages.format_average(own), "56.2†")


class PublishedTest(absltest.TestCase):
  def test_every_metric_is_one_of_our_task(self):
    for name, scores in published.PUBLISHED.items():
      self.assertIn(scores.metric, _TASKS.get(name).metrics)
      self.assertTrue(scores.source)
      self.assertContainsSubset(scores.by_system, published.SYSTEMS)
      for score in scores.by_system.values():
        for value in (score.mean, score.best_dev):
          self.assertBetween(50.0 if value is None else value, 1, 100)

  def test_unverified_scores_are_left_out(self):
    for name in ("drop", "squad_v1", "imdb_reviews", "wsc273", "cosmos_qa"):
      self.assertNotIn(name, published.PUBLISHED)
    copa = published.PUBLISHED["copa"]
    self.assertIsNone(copa.mean(published.GPT3_ZERO))
    self.assertNotIn("LaMDA", " ".join(published.SYSTEMS))
    self.assertIn("No figure of LaMDA-PT", published.ABOUT)

  def test_another_metric_is_marked(self):
    zero_shot = published.FLAN_ZERO
    result = _result("multirc", 50.0)
    self.assertEqual(cells.published_mean(result, zero_shot), "74.5")
    result = dataclasses.replace(result, metric="accuracy")
    self.assertEqual(cells.published_mean(result, zero_shot), "74.5†")
    result = _result("bool_q", 50.0)
    self.assertEqual(cells.published_best_dev(result, zero_shot), "82.9")
    self.assertEqual(
      cells.published_mean(result, published.FLAN_FEW), cells.ABSENT
    )


if __name__ == "__main__":
  absltest.main()
