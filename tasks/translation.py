"""Translation: eight data sets, each with English and one other language.

Texts of ParaCrawl are parts of web pages, even single words of a menu. Texts of
WMT'14 and WMT'16 are debates, documents and news with headlines. So no template
calls its text a sentence. Of ten templates, seven translate from English and
three into English.
"""

from flan_tf.task import fields
from flan_tf.task.schema import (
  Baseline,
  Source,
  Splits,
  Task,
  TaskKind,
  Template,
)

# TFDS does not download a file that lies in <manual_dir> under the same name.
_STATMT = (
  "statmt.org, which most of the files come from, is slow and answers 503 at"
  " times. Run the command again: what has arrived is kept. A file that was"
  " fetched in another way is read from <manual_dir>."
)
_OPUS = (
  " The SETIMES file is no longer at opus.nlpl.eu: get"
  " https://object.pouta.csc.fi/OPUS-SETIMES/v2/tmx/{file} and put it into"
  " <manual_dir>."
)


def _baseline(language: str) -> Baseline:
  """Returns the baseline prompt, which translates from English."""
  return Baseline(
    inputs=f"Q: What is this in {language}? {{en}}\nA:", stops=("Q:",)
  )


PARA_CRAWL_ENES = Task(
  name="para_crawl_enes",
  dataset="para_crawl_enes",
  cluster="translation",
  kind=TaskKind.GENERATION,
  source=Source(
    "para_crawl/enes", "1.2.0", Splits(test="train", test_rows=1_000)
  ),
  # Some pages were decoded wrongly: "deber\ufffda".
  fields=fields.generation(
    answer="es", clean=fields.one_line, excluded="\ufffd", en="en", es="es"
  ),
  slots=("en", "es"),
  metrics=("bleu",),
  documents=("en", "es"),
  published_rows=30_000,
  baseline=_baseline("Spanish"),
  templates=(
    Template("Translate this bit of a web page into Spanish.\n\n{en}"),
    Template("{en}\n\nWhat would that be in Spanish?"),
    Template("EN: {en}\nES:"),
    Template("From English into Spanish: {en}"),
    Template(
      "The English version of a website has the words below in one spot. What belongs in the same spot of the Spanish version?\n\n{en}"
    ),
    Template(
      "You look after the website of a company. Its pages for visitors from Spain and Latin America still lack something that the English pages have:\n\n{en}\n\nWrite it in Spanish."
    ),
    Template(
      "I found this on the internet and would like to show it to my grandmother, who speaks only Spanish. Could you translate it for me?\n\n{en}"
    ),
    Template("{es}\n\nThis is Spanish. Give me the English for it.", "{en}"),
    Template("ES: {es}\nEN:", "{en}"),
    Template(
      "A browser can show Spanish pages in English. What should it display instead of these words?\n\n{es}",
      "{en}",
    ),
  ),
)

WMT14_ENFR = Task(
  name="wmt14_enfr",
  dataset="wmt14_enfr",
  cluster="translation",
  kind=TaskKind.GENERATION,
  source=Source(
    "wmt14_translate/fr-en",
    "1.0.0",
    Splits(dev="validation", test="test"),
    broken=_STATMT,
  ),
  fields=fields.generation(
    answer="fr", clean=fields.one_line, en="en", fr="fr"
  ),
  slots=("en", "fr"),
  metrics=("bleu",),
  documents=("en", "fr"),
  published_rows=40_835_840,
  baseline=_baseline("French"),
  templates=(
    Template("In French, please: {en}"),
    Template("{en}\n\nTranslate what you have just read into French."),
    Template("Can you render the following in idiomatic French?\n\n{en}"),
    Template("English original: {en}\nFrench translation:"),
    Template(
      "A document has to appear in two languages. This much of it is ready in English:\n\n{en}\n\nWrite the matching part of the French version."
    ),
    Template(
      "A colleague in Lyon, whose English is poor, has come across the passage below and asks you what it says. Write it out for her in French.\n\n{en}"
    ),
    Template(
      "Translation exercise, English to French. Be exact, but let no one notice that it is a translation.\n\n{en}"
    ),
    Template("In English, please: {fr}", "{en}"),
    Template(
      "{fr}\n\nTranslate these words from French into English as faithfully as you can.",
      "{en}",
    ),
    Template(
      "An Englishman on holiday in Paris does not understand the text below. Tell him in English what it says.\n\n{fr}",
      "{en}",
    ),
  ),
)


def _templates(code: str, language: str) -> tuple[Template, ...]:
  """Returns the templates of a WMT'16 task; only the language differs."""
  foreign = f"{{{code}}}"
  return (
    Template(f"Put this into {language}.\n\n{{en}}"),
    Template(
      f"{{en}}\n\nThat was the English text. Now write the {language} one."
    ),
    Template(f"English: {{en}}\n{language}:"),
    Template(f"I need this in {language} by tonight: {{en}}"),
    Template(
      f"A friend of yours reads {language} but no English. Write this down for her in {language}.\n\n{{en}}"
    ),
    Template(
      f"You translate for a living, and {language} is your mother tongue. A client has sent you the text below. Give her a version that reads as if somebody had written it in {language} to begin with.\n\n{{en}}"
    ),
    Template(
      f"Here is the English half of a bilingual text. What does the {language} half say?\n\n{{en}}"
    ),
    Template(f"Put this into English.\n\n{foreign}", "{en}"),
    Template(f"{foreign}\n\nWhat does that mean in English?", "{en}"),
    Template(f"{language}: {foreign}\nEnglish:", "{en}"),
  )


def _wmt16(
  code: str,
  language: str,
  published_rows: int,
  manual: str = "",
  broken: str = _STATMT,
) -> Task:
  """Returns the WMT'16 task of a language and English."""
  return Task(
    name=f"wmt16_translate_{code}en",
    dataset=f"wmt16_translate_{code}en",
    cluster="translation",
    kind=TaskKind.GENERATION,
    source=Source(
      f"wmt16_translate/{code}-en",
      "1.0.0",
      Splits(dev="validation", test="test"),
      manual=manual,
      broken=broken,
    ),
    fields=fields.generation(
      answer=code, clean=fields.one_line, **{code: code, "en": "en"}
    ),
    slots=(code, "en"),
    metrics=("bleu",),
    documents=(code, "en"),
    published_rows=published_rows,
    baseline=_baseline(language),
    templates=_templates(code, language),
  )


WMT16_TRANSLATE_DEEN = _wmt16("de", "German", 4_548_800)
WMT16_TRANSLATE_TREN = _wmt16(
  "tr", "Turkish", 205_750, broken=_STATMT + _OPUS.format(file="en-tr.tmx.gz")
)
WMT16_TRANSLATE_CSEN = _wmt16(
  "cs",
  "Czech",
  52_335_360,
  manual=(
    "CzEng has to be fetched by hand: register at"
    " http://ufal.mff.cuni.cz/czeng/czeng16pre, download"
    " czeng16pre.deduped-ignoring-sections.txt.gz and put it into <manual_dir>."
  ),
)
WMT16_TRANSLATE_FIEN = _wmt16("fi", "Finnish", 2_073_360)
WMT16_TRANSLATE_ROEN = _wmt16(
  "ro", "Romanian", 610_320, broken=_STATMT + _OPUS.format(file="en-ro.tmx.gz")
)
WMT16_TRANSLATE_RUEN = _wmt16(
  "ru",
  "Russian",
  2_516_160,
  manual=(
    "Yandex's corpus has to be fetched by hand: download 1mcorpus.zip from"
    " https://translate.yandex.ru/corpus?lang=en and put it into <manual_dir>."
  ),
)

TASKS = (
  PARA_CRAWL_ENES,
  WMT14_ENFR,
  WMT16_TRANSLATE_DEEN,
  WMT16_TRANSLATE_TREN,
  WMT16_TRANSLATE_CSEN,
  WMT16_TRANSLATE_FIEN,
  WMT16_TRANSLATE_ROEN,
  WMT16_TRANSLATE_RUEN,
)
