"""Categories by plain rules, for a machine that has learned nothing yet: they say so, and claim no confidence."""

from __future__ import annotations

import re

from app.chat.model import Category, Judgement

LONG_WORK_CHARACTERS = 4000

_MEDIA = (
    r"im[aá]gen(es)?|images?|pictures?|photos?|illustrations?|logos?|banners?",
    r"v[ií]deos?|reels?|clips?|animations?",
    r"posts?|tweets?|captions?|social media|redes sociales",
    r"e-?mails?|newsletters?|correos?",
    r"landing pages?|websites?|p[aá]ginas? web",
)
_WHOLE = re.compile(
    r"\b(campaigns?|campañas?|end[- ]to[- ]end|workflow|step by step plan and|launch plan)\b", re.IGNORECASE
)
_STEPS = re.compile(r"\b(first|then|after that|finally|primero|luego|despu[eé]s|finalmente)\b", re.IGNORECASE)
_CODE = re.compile(
    r"```|\b(refactor|implement|debug|unit tests?|algorithm|function|class|code|script|sql|c[oó]digo|programa)\b",
    re.IGNORECASE,
)
_LONG_WRITING = re.compile(
    r"\b(article|essay|report|white ?paper|chapter|thesis|art[ií]culo|ensayo|informe|cap[ií]tulo)\b", re.IGNORECASE
)
_HARD = re.compile(r"\b(prove|proof|derive|theorem|optimi[sz]e|design a|demuestra|deriva|teorema)\b", re.IGNORECASE)
_MANY_STEPS = 3


class PlainCategoriser:
    """Tell the category by what the text names; implements `Categoriser`."""

    def judge(self, message: str, context_tokens: int) -> Judgement:
        """Judge one message."""
        del context_tokens
        why = "nothing learned yet, by plain rules: "
        media = sum(bool(re.search(rf"\b({words})\b", message, re.IGNORECASE)) for words in _MEDIA)
        if media > 1 or (_WHOLE.search(message) and media):
            return Judgement(Category.H, f"{why}it names several kinds of work")
        if len(set(_STEPS.findall(message.lower()))) >= _MANY_STEPS:
            return Judgement(Category.H, f"{why}it names several steps")
        if len(message) > LONG_WORK_CHARACTERS:
            return Judgement(Category.L, f"{why}it is long")
        for pattern, what in ((_CODE, "code"), (_LONG_WRITING, "long writing"), (_HARD, "a hard problem")):
            if pattern.search(message):
                return Judgement(Category.L, f"{why}it asks for {what}")
        return Judgement(Category.M, f"{why}a question")
