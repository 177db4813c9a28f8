"""Words by Unicode's annex 29, rule by rule, for text of characters whose property is listed here."""

from __future__ import annotations

PROPERTIES = {
    "ALetter": "aBzéßÅΣσάяЖñ가각بحنनकאָ"[:-2] + "ⅧⓐʰԱႠ",
    "Hebrew_Letter": "אבש",
    "Numeric": "09٣५",
    "Katakana": "アン゛ー",
    "Extend": "\u0301\u0308\u093f\u094d\u0650\u3099\u0323",
    "Joiner": "\u200c\u200d",
    "Format": "\u00ad\u2060\u200e\ufeff",
    "MidLetter": "\u00b7\u05f4",
    "Single_Quote": "'",
    "Double_Quote": '"',
    "Alone": "日本のを",
    "Run": "กข",
    "Other": " .,-_:!\u200b😀\u00a0",
}
OF = {character: name for name, characters in PROPERTIES.items() for character in characters}
_LETTERS = ("ALetter", "Hebrew_Letter")
_IGNORED = ("Extend", "Joiner", "Format")


def words(text: str) -> list[str]:
    """The words of a text in NFC: segments between boundaries in which there is a letter or number, in lower case."""
    segments, current = [], ""
    for place, character in enumerate(text):
        if current and _boundary(text, place):
            segments.append(current)
            current = ""
        current += character
    found = []
    for segment in [*segments, current]:
        kept = "".join(c for c in segment if OF[c] != "Format")
        while kept and OF[kept[-1]] == "Joiner":
            kept = kept[:-1]
        if any(OF[c] not in (*_IGNORED, "MidLetter", "Single_Quote", "Double_Quote", "Other") for c in kept):
            found.append(_lower(kept))
    return found


def _lower(word: str) -> str:
    lower = "".join(c.lower()[0] for c in word)
    return lower[:-1] + "ς" if len(word) > 1 and word[-1] == "Σ" else lower


def _boundary(text: str, place: int) -> bool:
    """Whether there is a boundary before a character (WB4 to WB13, WB999; docs/data.md has what differs)."""
    if OF[text[place]] in _IGNORED:
        return OF[text[place - 1]] == "Other"  # WB3a, WB4; nothing else is asked of what is no word
    before = [OF[c] for c in text[:place] if OF[c] not in _IGNORED]
    after = [OF[c] for c in text[place:] if OF[c] not in _IGNORED]
    last, last2 = (before[-1:] or [""])[0], (before[-2:-1] or [""])[0]
    here, next_ = after[0], (after[1:2] or [""])[0]
    if last in _LETTERS and here in _LETTERS:  # WB5
        return False
    if last in _LETTERS and here == "MidLetter" and next_ in _LETTERS:  # WB6
        return False
    if last2 in _LETTERS and last == "MidLetter" and here in _LETTERS:  # WB7
        return False
    if last == "Hebrew_Letter" and here == "Single_Quote":  # WB7a
        return False
    if last2 == "Hebrew_Letter" and last == "Single_Quote" and here in _LETTERS:  # WB7, after Hebrew alone
        return False
    if last == "Hebrew_Letter" and here == "Double_Quote" and next_ == "Hebrew_Letter":  # WB7b
        return False
    if last2 == "Hebrew_Letter" and last == "Double_Quote" and here == "Hebrew_Letter":  # WB7c
        return False
    joined = ("Numeric", *_LETTERS)
    if (last in joined and here == "Numeric") or (last == "Numeric" and here in joined):  # WB8 to WB10
        return False
    return not (last == here and here in ("Katakana", "Run"))  # WB13; a dictionary's part
