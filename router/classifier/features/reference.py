"""Whether a message refers to what was said before it, gives an answer, or plainly asks for something."""

from __future__ import annotations

import re

from router.classifier.features.turn_words import either

__all__ = ["GIVEN", "QUOTED", "RETURNS", "answers", "is_spaced", "only_says", "refers", "requests"]

_LONGEST_POINTER, _POINTER_WORDS = 70, 5
"""Characters of the longest message in which a pronoun points back, and the first words that may be one."""
_LONGEST_STATEMENT = 90
_FRAGMENT_WORDS, _FRAGMENT_SIGNS = 2, 6
"""The longest message without a verb of its own: words, and characters of a script without spaces."""

_TEXTS = r"\n\s*\S|```|[「『“][^」』”]{2,}[」』”]|\"[^\"]{2,}\"|`[^`]+`"
QUOTED, GIVEN = re.compile(_TEXTS), re.compile(rf"[:：]\s*\S|{_TEXTS}")
"""A text given with the request: the request stands on its own, whatever words it uses."""
RETURNS = re.compile(
    r"(?:back to|going back to|returning to|regarding|about) (?:the|your|my|our|that) "
    r"|earlier you|(?:さっき|先ほど)の"
)
_PART = (
    r"(?:step|point|part|line|section|paragraph|row|column|example|correction|change|error|reason"
    r"|result|code|function"
    r"|query|proof|answer|solution|formula|equation|argument|idea|option|item|output|title|ending"
    r"|beginning|intro"
    r"|introduction|conclusion|summary|table|list|text|email|e-mail|letter|message|tone|number"
    r"|figure|version|draft|bit"
    r"|word|sentence|test|one|style|executive summary|shopping list|iterator|first|second|third"
    r"|last|other)s?"
)
_ORDINAL = (
    r"(?:first|second|third|fourth|fifth|last|next|other|same|previous|final|remaining|above"
    r"|original|whole)"
)
_COMPARATIVE = (
    r"(?:shorter|longer|simpler|funnier|better|clearer|nicer|softer|stronger|friendlier|tougher"
    r"|firmer|easier|harder"
    r"|faster|slower|cheaper|smaller|bigger|larger|lower|higher|earlier|later|older|newer|warmer"
    r"|deeper|darker|lighter"
    r"|wider|tighter|cleaner|safer|(?:more|less|too|not so|not that|fewer) [\w-]+)"
)
_POLITE = (
    r"(?:(?:please|pls|now|just|also|then|ok|let's|i'd like you to|i want you to|(?:can|could"
    r"|would|will) (?:you|we)) )*"
)
_OBJECT = (
    rf"(?:it|this|these|those|them|both|everything|all of (?:it|them)|(?:the|your|that|each"
    rf"|every) (?:{_ORDINAL}|{_PART})\b"
    r"|the same|that(?= ?(?:$|[?.!,]|as |in |to |into |with |for |again|a bit|more|less|one|part"
    r"|\d)))"
)
_REFERS = re.compile(
    either(
        # A conjunction or a comparison at the beginning.
        r"(?:and|but|or|plus|except|instead|otherwise|even|then|because|though) ",
        r"(?:what|how) (?:about|if) ",
        r"(?:now|next) (?:the|a|an|for|in|as|with|to|that|it)\b",
        r"(?:assume|suppose|say|imagine) (?!.*(?:prove|show|find|what|how|compute))[^.;:]{1,60}$",
        r"so,? (?:what|which|how|why|when|where|who|should|do|can|is|are|does) .{1,60}$",
        rf"(?:(?:a (?:bit|little|lot)|slightly|much|even|way|something|still|make it"
        rf"|i want it) )*{_COMPARATIVE}(?: |$|[,.!?])",
        r"(?:another|one more|two more|three more|a different|something else|same) ?",
        # Something done to the answer.
        rf"{_POLITE}(?:(?!(?:prove|show|check|verify|say|tell|explain"
        rf"|assume) that\b)[a-z]+(?: (?:me|us|out|on|about|with|of|from|into"
        rf"|up))?(?: more)?) {_OBJECT}(?! of )",
        rf"{_POLITE}(?:make|keep) (?:the|each|all|sure)\b",
        rf"{_POLITE}(?:add|include|remove|drop|delete|omit|replace|change|swap|append|insert|use"
        rf"|skip|keep|apply|undo|rewrite"
        r"|rephrase|reword|redo|shorten|expand|elaborate|simplify|clarify|fix|finish|continue|try"
        r"|translate|format|convert)"
        r" (?!\d)(?:in |on |as |to |into |with |for |only |also |by )?(?:the|a|an|some|more"
        r"|another|all|my|fewer|less|no|only|german|english|french"
        r"|spanish|japanese|italian|\w+ instead)\b",
        rf"{_POLITE}(?:add|include|use|try) [\w-]+(?: [\w-]+){{0,2}}(?: (?:instead|too|as well"
        rf"|then))?$",
        r"(?:go ahead|go on|proceed|continue|carry on|start|keep going) (?:with|and|to|from|on) ",
        rf"{_POLITE}(?:give|show|tell|send) (?:me |us )?(?:(?:an?|some|more|another|one|two|three"
        rf"|four|five|\d+|other|different|a few|your) )+"
        rf"(?:\w+ )?(?:{_PART}|versions?|variants?|alternatives?|details?|detail)\b(?! (?:of|for"
        rf"|that|about|on|to|from) )",
        rf"{_POLITE}(?:give|show|tell|send) (?:me |us )?the (?!\w+ of )\w+(?: \w+){{0,2}}$",
        # A choice among what was offered, or feedback.
        r"(?:number|option|step|point|part|item|version|no\.|#) ?\d?[a-z]?\b",
        rf"(?:the|your) (?:{_ORDINAL}|{_PART}|{_COMPARATIVE})\b",
        r"i (?:like|liked|love|prefer|choose|chose|meant|mean|think|don'?t|still|want (?:it|this"
        r"|that|the)|would prefer|was|disagree)\b",
        r"(?:it|that|this|they|these|those)(?:'s|'ll|'d|'re)? \w+",
        r"(?:isn't|aren't|doesn't|don't|wasn't|didn't|shouldn't|won't|wouldn't|can't|couldn't) \w+",
        r"(?:you|your) (?:forgot|missed|said|wrote|mentioned|used|made|did|didn'?t|left|answer"
        r"|code|second|first|last|proof|solution)\b",
        r"(?:are you sure|can you elaborate|more on|more detail|tell me more|what do you mean"
        r"|why (?:exactly|that|this|is that|did you))\b",
        r"(?:can|could|should|may|must|do|would) i (?:\w+ ?){1,4}$",
    )
)
_JOINS = re.compile(
    r"(?:and|but|or|plus|except) |(?:what|how) (?:about|if) |you (?:forgot|missed)\b"
)
"""What begins a message that refers back, however long."""
_FRAGMENT_START = re.compile(
    r"(?:now )?(?:in|for|with|without|as|to|on|using|from|by|like|at|into|only|not|just|no|but"
    r"|case) [^,?:]{1,50}$"
)
_POINTS = re.compile(
    r"\b(?:it|its|these|those|them|they|he|she|his|her|the same|above|previous|previously|earlier"
    r"|you (?:said|got|get|wrote|used|mean)"
    r"|your (?:answer|code|proof|solution)|instead)\b|\b(?:about|of|with|like|why|than|for|if"
    r"|after|from|because|does|did|is|was|do|get|in) that\b(?! (?:the|an?|is)\b)"
    r"|\bthat (?:one|case|step|part|number|mean|way|line|point)\b"
    rf"|\bthe (?:{_ORDINAL} )?(?:step|point|one|second|third)\b"
)
_EMPTY_IT = re.compile(
    r"what time is it|(?:does|did|would|will) it (?:take|cost|hurt|matter)|is it (?:true|possible"
    r"|safe|legal|ok|okay|bad|normal"
    r"|worth|raining|better|healthy|rude|common|correct|wrong|illegal|dangerous|cold|hot|warm"
    r"|free|dark|too late)"
    r"|what is it called|it (?:is|'s) (?:raining|cold|hot)"
)
_VERBS = (
    r"(?:write|prove|show|explain|describe|give|list|find|solve|compute|calculate|derive|design"
    r"|implement|build|create|make"
    r"|draft|compose|translate|summari[sz]e|compare|analy[sz]e|plan|suggest|recommend|name|tell"
    r"|generate|convert|set|debug|review|proofread|define"
    r"|estimate|evaluate|construct|classify|extract|rank|formulate|discuss|outline|check|fix"
    r"|correct|rewrite|edit|spell|count|add|sort|choose"
    r"|determine|sketch|argue|develop|provide|tabulate|optimi[sz]e|refactor|test|simulate|predict"
    r"|recite|sing|play|act|imagine|pretend|code)"
)
_QUESTION_WORDS = r"(?:what(?:'?s)?|who(?:'?s|m|se)?|where(?:'?s)?|when|which|why|how(?:'?s)?)"
_ORDERS = re.compile(
    rf"(?:please |kindly )?(?:(?:can|could|would|will) you )?(?:please |kindly "
    rf"|help me )?{_VERBS}\b.{{4,}}"
    rf"|(?!how (?:are|r|is|have) (?:you|u|things|your)\b){_QUESTION_WORDS} .{{8,}}"
)
"""What plainly asks for something of its own."""
_ASKS = re.compile(
    rf"{_QUESTION_WORDS} .{{4,}}|(?:is|are|was|were|do|does|did|can|could|should|would|will|has"
    rf"|have|may) .{{4,}}"
    r"|(?:please )?(?:i (?:need|want|would like|have|am|'m)|i'd like|i'm|help|let's|we (?:need"
    r"|want|have|are)|my|our|suppose|given|let|consider)\b"
    rf"|(?:please |kindly )?{_VERBS}\b|regex\b|sql\b"
)
_SAYS = re.compile(
    r"(?:i|we|he|she|there|it|they|you|still|nothing|some) (?!need |want |would |have a |am "
    r"|are looking|'d )[\w']+"
    r"|(?:the|my|our|your) .{1,40} (?:is|are|was|were|shows?|has|have|had|doesn't|didn't|does|did"
    r"|gives?|gave|says?|fails?"
    r"|failed|works?|gets?|still|keeps?|returns?|looks?|seems?|forgot|worked|want|wants)\b"
)
"""A statement: a fact or an opinion, which in a chat is one about the task in hand."""
_THEN_ASKS = re.compile(rf"[.!;:,] (?:and |please |so |then )*(?:{_VERBS}|{_QUESTION_WORDS})\b|\?")

_JA_REFERS = re.compile(
    either(
        r"(?:もっと|もう(?:少し|ちょっと|一|ひと|二|三)|今度は|次は|じゃあ|それなら|それじゃ|でも|けど|ただ|しかし|やっぱり|やはり"
        r"|そこ|それ|これ|その|この(?!度)|あれ|上の|前の|今の|同じ|別の|他の|他に|ほかの|ほかに|逆に|代わりに|全部|両方|例え?ば|具体的に|詳しく|短く"
        r"|簡単に|簡潔に|長く|あと|さらに|まず(?:は|何|どれ|どこ)?|今は|そう|どこから|何から|え、)",
        r".{0,30}(?:もっと|もう少し|もうちょっと|もう一|さらに)",
        r"[^、]{0,24}(?:にして|に変えて|を変えて|直して|追加して|足して|付けて|つけて|消して|削って|削除して|外して|除いて|減らして|増やして|入れて|加えて"
        r"|まとめて|やり直して|書き直して|言い換えて|続けて|進めて|使って|掘り下げて|深掘りして|例を?挙げて|比べて|並べて|省いて|抜いて|直してほしい|追加)"
        r"(?:みて|もら(?:って|えますか|える)|ください|下さい|くれ(?:る|ますか)?|ほしい(?:です)?|欲しい(?:です)?|お願いします|ね|よ)*[。！!？?]*$",
        r".{1,12}も(?:ちょうだい|ください|お願い(?:します)?|教えて|作って|書いて|見せて|出して"
        r"|説明して|解説して|付けて|つけて|入れて)(?:ください)?[。！!]*$",
        r".{0,4}[0-9一二三四五]\w{1,6}(?:ください|下さい|ちょうだい|お願いします|お願い)[。！!]*$",
        r"[^のを、]{1,10}(?:で|も|から|なしで|抜きで|風に|付きで|つきで|を|使って|ように"
        r"|を?詳しく|方を|ほうを|が(?:いい|良い)(?:です)?)[。！!]*$",
        r"[^のがをにで、「」]{1,10}(?:は|では|なら|だと|も|だったら|とか)[？?]*$",
        r"[^の、]{0,14}(?:なったら|だったら|としたら|場合は|なら|[でて]も(?!ら))(?!.*(?:ください|教え|証明|とる))(?:.{0,10})[？?]*$",
        r".{0,4}(?:[一二三四五六七八九十1-9１-９](?:つ目|点目|番目|本目|行目|段目|個目|章|つめ)"
        r"|[1-9１-９]番|第[一二三四五1-9].|前者|後者|最後の|最初の)",
        r".{0,30}(?:て(?:い)?ませんか|のでは(?:ない(?:です|でしょう)?か)?[？?]|じゃないですか|んじゃない)",
        r".{1,30}と(?:仮定(?:して|すると|したら)|し(?:たら|て))$",
        r".{0,20}(?:この中で|その中で|上記|前述|その(?:数字|式|部分|理由|例|結果)|それ(?:は|を|で|って)|これ(?:は|を|で|って))",
    )
)
_JA_ORDERS = re.compile(
    r".*(?:証明|導出|導い|求め|示し|書い|作っ|作成|教え|説明|設計|実装|翻訳|訳し|要約|計算|比較|分析|考え|挙げ|直し|まとめ|調べ|解い|論じ)(?:て|せよ|を|し)"
    r"|.*(?:ください|下さい|とは|何ですか|ですか|ますか|は)[。？?]*$"
    r"|.*(?:何|誰|どこ|いつ|いくら|どれ|なぜ|どう).*[？?]?$"
)
_JA_SAYS = re.compile(
    r".*(?:です|ます|ました|ません|でした|けど|かも|だ|ない|ないです|ね|よ|た|思います|ている|います)[。！!…]*$"
)
_JA_WANTS = re.compile(
    r".*(?:ください|下さい|たい(?:です|のですが|んですが)?|ほしい|欲しい|教えて|知りた|お願い|方法|とは|でしょうか|ますか|ですか|書いて|作って|考えて|説明して"
    r"|証明|求め|翻訳|要約|設計|実装|計算|比較)"
)
_KANA_ON = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def is_spaced(text: str) -> bool:
    """Whether a text is of a script with spaces between words: no Japanese, Chinese or Korean."""
    return _KANA_ON.search(text) is None


def requests(core: str) -> bool:
    """Whether a message plainly asks for something, so that a greeting before it is no part of it."""
    if is_spaced(core):
        return _ORDERS.match(core) is not None
    return _JA_ORDERS.match(core) is not None


def answers(core: str, rest: str) -> bool:
    """Whether a message after a question asks for nothing."""
    wants = _ASKS.match(core) if is_spaced(core) else _JA_WANTS.match(core)
    return wants is None and not rest.rstrip().endswith(("?", "？"))


def refers(core: str, rest: str) -> bool:
    """Whether a short message refers back by its words.

    Args:
        core: the message in lower case, without signs around it.
        rest: the message.
    """
    return _refers_spaced(core, rest) if is_spaced(core) else _refers_unspaced(core, rest)


def only_says(core: str) -> bool:
    """Whether a message neither asks for something nor refers back to change it."""
    if is_spaced(core):
        return not (_ASKS.match(core) or (_REFERS.match(core) and not _SAYS.match(core)))
    return not (_JA_WANTS.match(core) or _JA_REFERS.match(core))


def _refers_spaced(core: str, rest: str) -> bool:
    if (
        (len(core) <= 120 and _REFERS.match(core))
        or _JOINS.match(core)
        or _FRAGMENT_START.match(core)
    ):
        return True
    if len(core) <= _LONGEST_POINTER and not _EMPTY_IT.search(core):
        opening = " ".join(core.split(" ", _POINTER_WORDS)[:_POINTER_WORDS])
        if _POINTS.search(opening):
            return True
    words = core.count(" ") + 1
    if words <= _FRAGMENT_WORDS + rest.rstrip().endswith("?"):
        return not _ASKS.match(core) or words == 1
    return (
        len(core) <= _LONGEST_STATEMENT
        and _SAYS.match(core) is not None
        and not _THEN_ASKS.search(rest.lower())
    )


def _refers_unspaced(core: str, rest: str) -> bool:
    if len(core) <= 60 and _JA_REFERS.match(core):
        return True
    question = rest.rstrip().endswith(("?", "？")) or core.endswith("か")
    if len(core) <= _FRAGMENT_SIGNS and not question and not _JA_WANTS.match(core):
        return True
    return (
        not question
        and len(core) <= 80
        and bool(_JA_SAYS.match(core))
        and not _JA_WANTS.match(core)
    )
