"""Speed of turning text into numbered words, by tokeniser and script.

python scripts/bench/words.py [--tokenizer uax29 --tokenizer unicode] [--megabytes 8]

The text is a paragraph repeated, in NFC. Processor time, the best of five; MB of UTF-8 and words a second, one thread.
To compare with other code, run it once in each checkout.
"""

from __future__ import annotations

import argparse
import time
import unicodedata

from rich.console import Console
from rich.table import Table

from distjoint.base.progress import short
from distjoint.data.tokens import Lexicon

BLOCK = 1 << 19
PARAGRAPHS = {
    "ASCII": "the quick brown fox jumps over the lazy dog while 42 other animals, such as cats, sleep in the sun. ",
    "Greek": "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί ενώ άλλα ζώα κοιμούνται στον ήλιο. ",
    "Russian": "Съешь ещё этих мягких французских булок, да выпей чаю, пока другие животные спят на солнце. ",
    "Arabic": "الثعلب البني السريع يقفز فوق الكلب الكسول بينما تنام الحيوانات الأخرى تحت الشمس وَتَقُولُ شَيْئًا. ",
    "Hindi": "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर से कूदती है, जबकि अन्य जानवर धूप में सोते हैं। ",
    "Chinese": "快速的棕色狐狸跳过了懒狗，而其他动物在阳光下睡觉。",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", action="append", help="uax29 and unicode by default")
    parser.add_argument("--megabytes", type=int, default=8)
    arguments = parser.parse_args()
    table = Table("script", *(name for name in arguments.tokenizer or ("uax29", "unicode")))
    for script, paragraph in PARAGRAPHS.items():
        content = unicodedata.normalize("NFC", paragraph).encode()
        block = content * (BLOCK // len(content))
        blocks = [block] * (arguments.megabytes * 1_000_000 // len(block))
        table.add_row(script, *(measure(name, blocks) for name in arguments.tokenizer or ("uax29", "unicode")))
    Console().print(table)


def measure(tokenizer: str, blocks: list[bytes]) -> str:
    lexicon = Lexicon(tokenizer)
    lexicon.encode(blocks[0])
    seconds, words = [], 0
    for _ in range(5):
        start = time.process_time()
        words = sum(len(lexicon.encode(block)) for block in blocks)
        seconds.append(time.process_time() - start)
    best = min(seconds)
    return f"{sum(map(len, blocks)) / best / 1e6:.0f} MB/s, {short(words / best)} words/s"


if __name__ == "__main__":
    main()
