"""Scores of short answers agree with values by hand and official scripts."""

import math

from absl.testing import absltest, parameterized

from flan_tf.eval import metrics, qa_metrics


class AnswersTest(parameterized.TestCase):
  @parameterized.parameters(
    ("exact_match", "x = -3 ", "x = -3", 1),
    ("exact_match", "X = -3", "x = -3", 0),
    ("squad_em", "The Black Sea.", "black sea", 1),
    ("squad_em", "Black Seas", "black sea", 0),
    # Words are bags: 2 of 2 and 2 of 3.
    ("squad_f1", "the Black Sea", "Black Sea coast", 0.8),
    ("squad_f1", "sea black", "Black Sea", 1),
    # "sea" counts once: 1 of 2 and 1 of 1.
    ("squad_f1", "sea sea", "sea", 2 / 3),
    ("squad_f1", "", "sea", 0),
    ("squad_f1", "", "the", 1),
    # SQuAD deletes a hyphen, TriviaQA's script makes a space of it.
    ("squad_em", "Jean-Paul", "JeanPaul", 1),
    ("trivia_qa_em", "Jean-Paul", "jean paul", 1),
    ("trivia_qa_em", "Jean-Paul", "JeanPaul", 0),
    ("trivia_qa_em", "snake_case", "snake case", 1),
    ("trivia_qa_em", "\u2018Hamlet\u2019", "hamlet", 1),
    ("trivia_qa_f1", "a play by Shakespeare", "Shakespeare play", 0.8),
    # Two empty answers are equal by the rule of SQuAD 2 only.
    ("trivia_qa_f1", "", "the", 0),
    ("drop_em", "7", "7.0", 1),
    ("drop_em", "1,500", "1500", 1),
    ("drop_em", "two-yard", "two yard", 1),
    ("drop_f1", "7 yards", "7 yards", 1),
    # Without the right number the shared word does not count.
    ("drop_f1", "8 yards", "7 yards", 0),
    ("drop_f1", "nan", "nan", 1),
    ("drop_f1", "the Bears", "Chicago Bears", 0.67),
    # Dates as TFDS writes them, with and without a year.
    ("drop_em", "26 December 2004", "2004-December-26", 1),
    ("drop_em", "December 26, 2004", "2004-December-26", 0),
    ("drop_f1", "December 26, 2004", "2004-December-26", 1),
    ("drop_em", "3 February", "-February-3", 1),
    ("drop_em", "2-yard-line", "2 yard line", 1),
    ("turn_f1", "1. Anna\n2. to Rome", "1. Anna\n2. to Rome", 1),
    ("turn_f1", "", "", 1),
    # The line numbers may be left out.
    ("turn_f1", "Anna\nRome", "1. Anna\n2. Rome", 1),
    # The example of the docstring.
    (
      "turn_f1",
      "1. Anna\n2. to Rome",
      "1. Anna\n2. Rome, by train\n3. in May",
      (1 + 0.4 + 0) / 3,
    ),
    # "A" is inserted: 1 edit, 4 words.
    ("word_similarity", "cat sat here", "A cat sat here", 0.75),
    ("word_similarity", "same", "same", 1),
  )
  def test_by_hand(self, name, text, right, expected):
    found = getattr(qa_metrics, name)(text, right)
    self.assertTrue(math.isclose(found, expected), found)

  def test_the_best_of_the_right_answers_counts(self):
    right = ["Sea of Azov", "the Black Sea"]
    self.assertEqual(
      qa_metrics.best_score(qa_metrics.squad_em, "Black Sea", right), 1
    )

  def test_a_line_that_begins_with_a_year_is_no_list_number(self):
    self.assertEqual(qa_metrics.turn_f1("1. 1945", "1. 1945"), 1)
    self.assertEqual(qa_metrics.turn_f1("1. 1946", "1. 1945"), 0)


class OfficialTest(parameterized.TestCase):
  """Values from other packages; 100,000 random pairs agreed as well."""

  # lm-evaluation-harness 0.4.13, tasks/drop/utils.py, get_metrics.
  @parameterized.parameters(
    ("two yard", "yard two", 0, 1),  # Only exact match depends on the order.
    ("yard yard line", "yard line", 0, 1),  # F1 compares sets of words.
    ("47-yard field goal", "47 yard", 0, 0.67),
    ("Patriots and Bears", "Bears", 0, 0.5),
    ("$1,500", "1500", 1, 1),
    (
      "3.50%",
      "3.5",
      0,
      0,
    ),  # "3.50%" is no number, so its point is punctuation.
    ("5", "five", 0, 0),
    ("7 yards", "7", 0, 0.67),
    ("the 2004-05 season", "2004-05 season", 1, 1),
    ("Nan Kempner", "Nan Kempner", 1, 1),
    ("Kempner", "Nan Kempner", 0, 0),  # "nan" is a number.
    ("infinity", "inf", 1, 1),
    ("a", "the", 1, 1),
    ("", "Bears", 0, 0),
    ("December 26", "26 December 2004", 0, 0.8),
    ("U.S. Army", "US Army", 1, 1),
    ("half\nback", "half back", 1, 1),
  )
  def test_drop(self, text, right, equal, f1):
    self.assertEqual(qa_metrics.drop_em(text, right), equal)
    self.assertEqual(qa_metrics.drop_f1(text, right), f1)

  # torchmetrics 1.9.0, functional.text.squad.
  @parameterized.parameters(
    ("Jean-Paul's", "jeanpauls", 1, 1),
    ("an apple a day", "apple day", 1, 1),
    ("The", "a", 1, 1),
    ("", "unanswerable", 0, 0),
    ("\u201cJa\u201d", "Ja", 0, 0),  # Typographic quotes are not removed.
    ("not in the United States", "the United States of America", 0, 0.5),
    ("7.0", "7", 0, 0),
    ("A's", "as", 1, 1),
    ("Caf\u00e9", "cafe", 0, 0),
  )
  def test_squad(self, text, right, equal, f1):
    self.assertEqual(qa_metrics.squad_em(text, right), equal)
    self.assertEqual(qa_metrics.squad_f1(text, right), f1)

  # t5 0.9.4, evaluation/qa_utils.py.
  @parameterized.parameters(
    ("Jean-Paul", "jean paul", 1, 1),
    ("\u201cJa\u201d", "Ja", 0, 0),
    ("\u00b4Ja\u00b4", "Ja", 1, 1),
    ("a_b", "b", 1, 1),
    ("The", "a", 1, 0),
    ("Sunset Blvd.", "Sunset Boulevard", 0, 0.5),
    ("rock'n'roll", "rock n roll", 1, 1),
  )
  def test_trivia_qa(self, text, right, equal, f1):
    self.assertEqual(qa_metrics.trivia_qa_em(text, right), equal)
    self.assertEqual(qa_metrics.trivia_qa_f1(text, right), f1)

  def test_multirc(self):
    """F1 over all answers, and questions with every answer marked rightly.

    lm-evaluation-harness 0.4.13, super_glue/multirc/t5_utils.py.
    """
    groups = ["0/0", "0/0", "0/1", "0/1", "0/1", "1/0", "1/1"]
    given, right = [0, 1, 1, 1, 0, 0, 1], [0, 1, 1, 0, 0, 0, 0]
    f1 = metrics.compute("f1", given, right, 2)
    self.assertAlmostEqual(f1, 100 * 2 / 3)
    equal = metrics.compute("group_exact_match", given, right, 2, groups)
    self.assertEqual(equal, 50)

  def test_of_several_entities_or_aliases_the_best_counts(self):
    """In ReCoRD and TriviaQA, one of several right answers is enough."""
    given = ["President Ada Holm", "the Netherlands"]
    right = [["Holm", "Ada Holm"], ["Nederland", "Netherlands"]]
    self.assertEqual(metrics.compute("squad_em", given, right), 50)
    self.assertAlmostEqual(metrics.compute("squad_f1", given, right), 90)
    self.assertEqual(metrics.compute("trivia_qa_em", given, right), 50)


if __name__ == "__main__":
  absltest.main()
