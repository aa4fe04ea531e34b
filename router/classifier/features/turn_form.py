"""What form a message of a chat has: a greeting, a closing, one that refers back, or a request of its own.

By closed lists of words and by length, for English and Japanese; of other languages only the commonest words
of thanks, agreement and going on, and messages of a word or two. Nothing here reads a longer message than
:data:`LONGEST` beyond its beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ["LONGEST", "Form", "Turn", "question_at_end", "read_turn"]

LONGEST = 240
"""Characters of the longest message that may refer back by its words alone; a longer one says what it wants."""
_OPENING = 160
"""Characters of a message in which words before the request are looked for."""
_LONGEST_POINTER, _POINTER_WORDS = 70, 5
"""Characters of the longest message in which a pronoun points back, and among how many first words it stands."""
_LONGEST_STATEMENT, _LONGEST_ANSWER = 90, 40
_LONGEST_CLOSING = 80
"""Characters of the longest message that may be of known words alone."""
_FRAGMENT_WORDS, _FRAGMENT_SIGNS = 2, 6
"""The longest message without a verb of its own: words, and characters of a script without spaces."""


class Form(Enum):
    """What a message does in its chat."""

    GREETING = "greeting"
    CLOSING = "closing"
    REPEATS = "repeats"
    """Asks for the task of before and changes nothing of it: «continue», «yes, do it», «why?»."""
    CHANGES = "changes"
    """Refers back and says something new: «now in Python», «what about the second point?»."""
    RETURNS = "returns"
    """Like :attr:`CHANGES`, after another task came between: «back to the query: …»."""
    REQUEST = "request"

    @property
    def refers_back(self) -> bool:
        """Whether its task is that of an earlier message."""
        return self in (Form.REPEATS, Form.CHANGES, Form.RETURNS)


@dataclass(frozen=True, slots=True)
class Turn:
    """A message as read.

    Attributes:
        form: what it does.
        text: the message without the words before its request, such as «Hi!» and «Thanks!»; the whole message
            where nothing else is left.
        alone: whether its words say that it is a request of its own: it gives a text, or changes the topic.
    """

    form: Form
    text: str
    alone: bool = False


class _Asked(Enum):
    """How the message before ends."""

    NOTHING = 0
    OFFER = 1
    QUESTION = 2
    ANYTHING_ELSE = 3


def _either(*words: str) -> str:
    return "|".join(words)


# --- Words before a request --------------------------------------------------------------------

_GREETING = _either(
    r"(?:hi|hello|hey|hiya|howdy|yo|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: (?:there|all|everyone|team|again|guys|folks))?",
    r"(?:guten (?:morgen|tag|abend)|hallo|bonjour|bonsoir|salut|hola|buenos días|ciao|olá|привет|здравствуйте)",
    r"(?:こんにち[はわ]|こんばん[はわ]|おはよ(?:う|ー)*(?:ございます)?|はじめまして|初めまして|お疲れ(?:様|さま)(?:です)?"
    r"|おつかれ(?:様|さま)(?:です)?|お世話に(?:なって(?:います|おります)|なります)|やっほー|もしもし|ハロー)",
    r"(?:你好|您好|안녕하세요)",
)
_THANKS = _either(
    r"(?:many |ok |okay |no |lol )?(?:thanks?(?: you)?|thx|tysm|ty|cheers|much appreciated)"
    r"(?: (?:so much|very much|a lot|a million|a ton|again|in advance|for (?:(?:your|the|all|clearing|explaining|fixing|doing|helping|checking)(?: (?:your|the|that|this|it|me))? ?)?\w*(?: up| out)?))*",
    r"(?:vielen dank|danke(?: schön| sehr)?|merci(?: beaucoup)?|(?:muchas )?gracias|grazie(?: mille)?"
    r"|(?:muito )?obrigad[oa]|(?:большое )?спасибо)",
    r"(?:本当に|ほんとに|どうも|色々|いろいろ)?(?:ありがと(?:う|ー)*(?:ございま(?:す|した))?|有難うございま(?:す|した)"
    r"|感謝(?:です|します|しています)|助かり(?:ました|ます)|サンキュー|あざす)",
    r"どうも(?:です)?",
    r"(?:谢谢(?:你|您)?|謝謝|多谢|감사합니다|고마워(?:요)?)",
)
_AGREED = _either(
    r"(?:yes|yeah|yep|yup|sure(?: thing)?|absolutely|definitely|of course|please do|yes please|go for it|do it)",
    r"(?:sounds|looks) (?:good|right|fine|great|correct)(?: to me)?",
    r"(?:ja|oui|sí|si|sim|да)(?: (?:bitte|s'il (?:te|vous) plaît|por favor|per favore))?",
    r"(?:はい|うん|ええ|ぜひ(?:とも)?|是非|もちろん|そうして(?:ください)?|(?:それで|では)?(?:よろしく)?お願い(?:します|いたします|致します)?"
    r"|頼みます|いい感じ(?:です)?|良さそう(?:です)?|よさそう(?:です)?)",
    r"(?:好的?|是的?|네)",
)
_REFUSED = _either(
    r"(?:no|nope|nah|not really|not now)",
    r"(?:nein|non)",
    r"(?:いいえ|いえ|いや|大丈夫です|結構です|けっこうです|特にないです|ないです)",
)
_NOTED = _either(
    r"(?:ok(?:ay)?|k|alright|all right|great|perfect|nice|cool|good|awesome|amazing|excellent|brilliant|wonderful"
    r"|fantastic|beautiful|lovely|wow|fine|right|lgtm|fair enough|interesting)",
    r"(?:got it|gotcha|i (?:see|get it)(?: now)?|understood|i understand(?: now)?|makes sense|noted|love it"
    r"|oh (?:right|ok|i see)|that (?:makes sense|works|helps))",
    r"(?:なるほど(?:です(?:ね)?|ね)?|了解(?:です|しました|いたしました)?|りょ|(?:やっと|よく)?(?:わか|分か|判)り(?:ました|ます)"
    r"|わかった|分かった|承知(?:しました|いたしました|です)?|納得(?:です|しました)?|ok(?:です)?|おk|オッケー(?:です)?"
    r"|いい(?:です)?ね|(?:これで)?完璧(?:です)?|素晴らしい(?:です)?|素敵(?:です)?|すごい(?:です)?|さすが(?:です)?|最高(?:です)?"
    r"|できました|すっきり(?:です|しました)|そうか|そうですか|そうでした|そうなんだ|よかった(?:です)?)",
    r"(?:明白了?|알겠습니다)",
)
_FILLER = _either(
    r"(?:well|hmm+|uh|um|ah+|oh|lol|haha+|actually|anyway)",
    r"(?:うーん|ええと|えっと|あー|あっ|え|あ|ふむ|へえ|まあまあ)",
)
_DOUBT = r"(?:wait|hold on|sorry|hang on|すみません|ちょっと待って)"
_SHIFT = _either(
    r"(?:by the way|btw|unrelated(?:ly)?|different (?:topic|question|subject)|new (?:question|topic|task)"
    r"|(?:next|another|one (?:more|last)|quick|second) question|changing (?:the )?(?:topic|subject)|on another note)",
    r"(?:ところで|話は変わ(?:りますが|るけど)|話変わ(?:りますが|るけど)|別件(?:ですが|で|です)|全く別の話(?:ですが)?"
    r"|(?:次|別|もう一つ)の?質問(?:です(?:が)?)?)",
)
_END = r"(?=[\s,.!?;:、。！？：…〜~ー—–)🙂😊🙏👍😀😂❤️]|-(?!\w)|$)"
_GAP = r"[\s,.!;:、。！：…〜~ー—–)🙂😊🙏👍😀😂❤️]*"
_BEFORE = re.compile(
    rf"(?:(?P<greeting>{_GREETING})|(?P<thanks>{_THANKS})|(?P<agreed>{_AGREED})|(?P<refused>{_REFUSED})"
    rf"|(?P<noted>{_NOTED})|(?P<doubt>{_DOUBT})|(?P<shift>{_SHIFT})|(?P<filler>{_FILLER})){_END}(?P<gap>{_GAP})"
)
_BARE_GAP = {"filler", "doubt", "shift"}
"""Words after which a request may go on without a sign: «so what…», «wait what…»."""
_RUNS_ON = re.compile(
    r"(?:ok|okay) |\w+ (?:thanks?|thx|ty|cheers)\b|(?:yes|yeah|yep|yup|sure) (?:do|please|go|it|that|the|let|continue|proceed|just|but|and|with|in|use|make|write|show)\b"
    r"|(?:no|nope) (?:that|it|i|the|you|this|use|make|but|not|sorry|wait|thanks?)\b"
)
"""What else goes on without a sign."""
_MOST_BEFORE = 5


# --- Whole messages ----------------------------------------------------------------------------

_FINISHED = re.compile(
    _either(
        r"(?:that|this|it|everything|all|you)(?:'s| is| was|'re| are)? ?(?:all|it|exactly|really|very|so|just|now)* ?"
        r"(?:what i (?:needed|wanted|was looking for)|i needed|helpful|great|perfect|clear(?:er)?|good|awesome|amazing"
        r"|the best|fixed|solved|fine|it|all|correct|right|works?(?: now| great| perfectly)?|worked|helps?(?: a lot)?"
        r"|helped(?: a lot)?|did it|answers my question|fixed it|explains it|makes (?:more )?sense(?: now)?)",
        r"(?:all|crystal) clear",
        r"(?:bye|goodbye|see you|good ?night|later|take care|have a (?:nice|great|good) \w+)(?: .{0,20})?",
        r"i(?:'ll| will) (?:try|do|check|use|take) (?:it|that|this)(?: out)?(?: now)?",
        r"(?:never ?mind|forget it|i'm (?:good|done|all set)|nothing else|no more questions|for (?:your|the|all) .{1,30})",
        r"(?:that|your) \w+(?: \w+)? (?:is|was|looks) (?:really |very |so )?(?:great|perfect|helpful|good|brilliant)",
        r"(?:また|では|じゃあ|それでは)?(?:また|失礼します|おやすみ(?:なさい)?|さようなら|バイバイ|よい一日を)(?:明日|来ます|聞きます|ね|お願いします|、)*",
        r"(?:これで|それで|以上で|もう)?(?:大丈夫|十分|完璧|解決|ok|オッケー|結構|終わり|以上)(?:です|しました|でした|だ)?",
        r"(?:とても|すごく|大変|本当に)?(?:よく|やっと)?(?:助かりました|分かりました|わかりました|参考になりました|勉強になりました"
        r"|うまくいきました|いけました|動きました|直りました|解決しました|それでした|できました)",
        r"(?:まさに)?(?:これ|それ)です",
        r"(?:また(?:何かあれば)?|あとで)(?:聞きます|お願いします|試します|やってみます)|(?:試して|やって)みます",
    )
)
_CHAT = re.compile(
    r"(?:how (?:are|r) (?:you|u|things)(?: doing| today)*|how'?s it going|what'?s up|sup|(?:are |r )?(?:you|u) (?:there|around|up))"
    r"|(?:(?:お)?元気(?:ですか|です|)|調子(?:は)?どう(?:ですか)?|(?:今)?いますか|いる|今ちょっといいですか)"
)
_GO_ON = re.compile(
    r"(?:(?:please|and|now|then|just|can you|could you|ok|keep) ?)*"
    r"(?:continue|go on|go ahead|proceed|keep going|going|carry on|next(?: one| part| step)?|more|again|go|start"
    r"|try (?:again|it|that|once more)|(?:do|finish|write|show|fix|redo|repeat|try|run|solve|complete|explain|send) "
    r"(?:it|that|this|so|them|these|those|all of (?:it|them)|them all|both)(?: (?:all|again|out|up|from there|for me))*"
    r"|redo|what(?:'s| is)? (?:next|else)|anything else|the rest|and then|then what|elaborate|explain|tell me more|say more"
    r"|why|why not|how|how so|how come|really|are you sure(?: (?:about )?(?:it|that|this))?|seriously|what do you mean"
    r"|what does (?:that|this|it) mean|what|meaning|huh|(?:can|could) you (?:elaborate|explain|clarify)|i don'?t (?:get|understand)"
    r"(?: (?:it|that|this))?|(?:that|it) (?:didn'?t|doesn'?t|does not|did not|still doesn'?t) (?:work|help)|same (?:thing|here|error|problem|issue)"
    r"|that'?s (?:wrong|not (?:right|correct|it|what i (?:asked|meant|wanted))))"
    r"(?: ?(?:please|pls|now|then|with (?:it|that)|thanks|further|exactly|though))*"
    r"|weiter|weitermachen|warum|mach weiter|continuez?|pourquoi|continúa|sigue|por qué|continua|perché|continue|por quê|дальше|продолжай|почему"
    r"|(?:そのまま|どんどん|先を|じゃあ|では)?(?:続け|進め|やっ|始め|やり直し)て(?:みて)?(?:ください|下さい|くれ(?:ますか)?|お願いします|ほしい(?:です)?)?"
    r"|(?:続き|次|残り|その先|もう(?:一度|一回))(?:を|も|は|に)?(?:お願い(?:します|いたします)?|ください|下さい|頼む|書いて|見せて|教えて|行って|どうぞ)*"
    r"|(?:それは?|これは?|でも)?(?:なぜ|なんで|何故|どうして|どうやって|どういう(?:こと|意味)|いつ|どこ|だれ|誰|いくら|いくつ|どれ|どっち|どのくらい|本当|ほんと|まじ|マジ)(?:ですか|なの|なんですか|に|だ)?"
    r"|(?:ダメ|だめ|駄目)(?:でした|です)|(?:変わり|動き|直り|うまくいき|でき)ません(?:でした)?|違います|同じ(?:です|エラーです)"
    r"|(?:よく|まだ)?(?:分かりません|わかりません|分からない(?:です)?|わからない(?:です)?)|(?:全部|すべて|両方)(?:やって|直して|お願いします|書いて)(?:ください)?"
    r"|(?:それ|これ|その(?:通り|とおり|まま)?)で?(?:お願いします|やって(?:ください)?|進めて(?:ください)?)|もっと|具体的に"
    r"|继续|繼續|接着说|为什么|為什麼|계속(?:해줘|해주세요)?|왜(?:요)?"
)

# --- Parts of messages -------------------------------------------------------------------------

_TEXTS = r"\n\s*\S|```|[「『“][^」』”]{2,}[」』”]|\"[^\"]{2,}\"|`[^`]+`"
_QUOTED, _GIVEN = re.compile(_TEXTS), re.compile(rf"[:：]\s*\S|{_TEXTS}")
"""A text given with the request: the request stands on its own, whatever words it uses."""
_RETURNS = re.compile(
    r"(?:back to|going back to|returning to|regarding|about) (?:the|your|my|our|that) |earlier you|(?:さっき|先ほど)の"
)
_PART = (
    r"(?:step|point|part|line|section|paragraph|row|column|example|correction|change|error|reason|result|code|function"
    r"|query|proof|answer|solution|formula|equation|argument|idea|option|item|output|title|ending|beginning|intro"
    r"|introduction|conclusion|summary|table|list|text|email|e-mail|letter|message|tone|number|figure|version|draft|bit"
    r"|word|sentence|test|one|style|executive summary|shopping list|iterator|first|second|third|last|other)s?"
)
_ORDINAL = r"(?:first|second|third|fourth|fifth|last|next|other|same|previous|final|remaining|above|original|whole)"
_COMPARATIVE = (
    r"(?:shorter|longer|simpler|funnier|better|clearer|nicer|softer|stronger|friendlier|tougher|firmer|easier|harder"
    r"|faster|slower|cheaper|smaller|bigger|larger|lower|higher|earlier|later|older|newer|warmer|deeper|darker|lighter"
    r"|wider|tighter|cleaner|safer|(?:more|less|too|not so|not that|fewer) [\w-]+)"
)
_POLITE = (
    r"(?:(?:please|pls|now|just|also|then|ok|let's|i'd like you to|i want you to|(?:can|could|would|will) (?:you|we)) )*"
)
_OBJECT = (
    rf"(?:it|this|these|those|them|both|everything|all of (?:it|them)|(?:the|your|that|each|every) (?:{_ORDINAL}|{_PART})\b"
    r"|the same|that(?= ?(?:$|[?.!,]|as |in |to |into |with |for |again|a bit|more|less|one|part|\d)))"
)
_REFERS = re.compile(
    _either(
        # A conjunction or a comparison at the beginning.
        r"(?:and|but|or|plus|except|instead|otherwise|even|then|because|though) ",
        r"(?:what|how) (?:about|if) ",
        r"(?:now|next) (?:the|a|an|for|in|as|with|to|that|it)\b",
        r"(?:assume|suppose|say|imagine) (?!.*(?:prove|show|find|what|how|compute))[^.;:]{1,60}$",
        r"so,? (?:what|which|how|why|when|where|who|should|do|can|is|are|does) .{1,60}$",
        rf"(?:(?:a (?:bit|little|lot)|slightly|much|even|way|something|still|make it|i want it) )*{_COMPARATIVE}(?: |$|[,.!?])",
        r"(?:another|one more|two more|three more|a different|something else|same) ?",
        # Something done to the answer.
        rf"{_POLITE}(?:(?!(?:prove|show|check|verify|say|tell|explain|assume) that\b)[a-z]+(?: (?:me|us|out|on|about|with|of|from|into|up))?(?: more)?) {_OBJECT}(?! of )",
        rf"{_POLITE}(?:make|keep) (?:the|each|all|sure)\b",
        rf"{_POLITE}(?:add|include|remove|drop|delete|omit|replace|change|swap|append|insert|use|skip|keep|apply|undo|rewrite"
        r"|rephrase|reword|redo|shorten|expand|elaborate|simplify|clarify|fix|finish|continue|try|translate|format|convert)"
        r" (?!\d)(?:in |on |as |to |into |with |for |only |also |by )?(?:the|a|an|some|more|another|all|my|fewer|less|no|only|german|english|french"
        r"|spanish|japanese|italian|\w+ instead)\b",
        rf"{_POLITE}(?:add|include|use|try) [\w-]+(?: [\w-]+){{0,2}}(?: (?:instead|too|as well|then))?$",
        r"(?:go ahead|go on|proceed|continue|carry on|start|keep going) (?:with|and|to|from|on) ",
        rf"{_POLITE}(?:give|show|tell|send) (?:me |us )?(?:(?:an?|some|more|another|one|two|three|four|five|\d+|other|different|a few|your) )+"
        rf"(?:\w+ )?(?:{_PART}|versions?|variants?|alternatives?|details?|detail)\b(?! (?:of|for|that|about|on|to|from) )",
        rf"{_POLITE}(?:give|show|tell|send) (?:me |us )?the (?!\w+ of )\w+(?: \w+){{0,2}}$",
        # A choice among what was offered, or feedback.
        r"(?:number|option|step|point|part|item|version|no\.|#) ?\d?[a-z]?\b",
        rf"(?:the|your) (?:{_ORDINAL}|{_PART}|{_COMPARATIVE})\b",
        r"i (?:like|liked|love|prefer|choose|chose|meant|mean|think|don'?t|still|want (?:it|this|that|the)|would prefer|was|disagree)\b",
        r"(?:it|that|this|they|these|those)(?:'s|'ll|'d|'re)? \w+",
        r"(?:isn't|aren't|doesn't|don't|wasn't|didn't|shouldn't|won't|wouldn't|can't|couldn't) \w+",
        r"(?:you|your) (?:forgot|missed|said|wrote|mentioned|used|made|did|didn'?t|left|answer|code|second|first|last|proof|solution)\b",
        r"(?:are you sure|can you elaborate|more on|more detail|tell me more|what do you mean|why (?:exactly|that|this|is that|did you))\b",
        r"(?:can|could|should|may|must|do|would) i (?:\w+ ?){1,4}$",
    )
)
_JOINS = re.compile(r"(?:and|but|or|plus|except) |(?:what|how) (?:about|if) |you (?:forgot|missed)\b")
"""What begins a message that refers back, however long."""
_FRAGMENT_START = re.compile(
    r"(?:now )?(?:in|for|with|without|as|to|on|using|from|by|like|at|into|only|not|just|no|but|case) [^,?:]{1,50}$"
)
_POINTS = re.compile(
    r"\b(?:it|its|these|those|them|they|he|she|his|her|the same|above|previous|previously|earlier|you (?:said|got|get|wrote|used|mean)"
    r"|your (?:answer|code|proof|solution)|instead)\b|\b(?:about|of|with|like|why|than|for|if|after|from|because|does|did|is|was|do|get|in) that\b(?! (?:the|an?|is)\b)"
    r"|\bthat (?:one|case|step|part|number|mean|way|line|point)\b"
    rf"|\bthe (?:{_ORDINAL} )?(?:step|point|one|second|third)\b"
)
_EMPTY_IT = re.compile(
    r"what time is it|(?:does|did|would|will) it (?:take|cost|hurt|matter)|is it (?:true|possible|safe|legal|ok|okay|bad|normal"
    r"|worth|raining|better|healthy|rude|common|correct|wrong|illegal|dangerous|cold|hot|warm|free|dark|too late)"
    r"|what is it called|it (?:is|'s) (?:raining|cold|hot)"
)
_VERBS = (
    r"(?:write|prove|show|explain|describe|give|list|find|solve|compute|calculate|derive|design|implement|build|create|make"
    r"|draft|compose|translate|summari[sz]e|compare|analy[sz]e|plan|suggest|recommend|name|tell|generate|convert|set|debug|review|proofread|define"
    r"|estimate|evaluate|construct|classify|extract|rank|formulate|discuss|outline|check|fix|correct|rewrite|edit|spell|count|add|sort|choose"
    r"|determine|sketch|argue|develop|provide|tabulate|optimi[sz]e|refactor|test|simulate|predict|recite|sing|play|act|imagine|pretend|code)"
)
_QUESTION_WORDS = r"(?:what(?:'?s)?|who(?:'?s|m|se)?|where(?:'?s)?|when|which|why|how(?:'?s)?)"
_ORDERS = re.compile(
    rf"(?:please |kindly )?(?:(?:can|could|would|will) you )?(?:please |kindly |help me )?{_VERBS}\b.{{4,}}|{_QUESTION_WORDS} .{{8,}}"
)
"""What plainly asks for something of its own."""
_ASKS = re.compile(
    rf"{_QUESTION_WORDS} .{{4,}}|(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|may) .{{4,}}"
    r"|(?:please )?(?:i (?:need|want|would like|have|am|'m)|i'd like|i'm|help|let's|we (?:need|want|have|are)|my|our|suppose|given|let|consider)\b"
    rf"|(?:please |kindly )?{_VERBS}\b|regex\b|sql\b"
)
_SAYS = re.compile(
    r"(?:i|we|he|she|there|it|they|you|still|nothing|some) (?!need |want |would |have a |am |are looking|'d )[\w']+"
    r"|(?:the|my|our|your) .{1,40} (?:is|are|was|were|shows?|has|have|had|doesn't|didn't|does|did|gives?|gave|says?|fails?"
    r"|failed|works?|gets?|still|keeps?|returns?|looks?|seems?|forgot|worked|want|wants)\b"
)
"""A statement: a fact or an opinion, which in a chat is one about the task in hand."""
_THEN_ASKS = re.compile(rf"[.!;:,] (?:and |please |so |then )*(?:{_VERBS}|{_QUESTION_WORDS})\b|\?")

_JA_REFERS = re.compile(
    _either(
        r"(?:もっと|もう(?:少し|ちょっと|一|ひと|二|三)|今度は|次は|じゃあ|それなら|それじゃ|でも|けど|ただ|しかし|やっぱり|やはり"
        r"|そこ|それ|これ|その|この(?!度)|あれ|上の|前の|今の|同じ|別の|他の|他に|ほかの|ほかに|逆に|代わりに|全部|両方|例え?ば|具体的に|詳しく|短く"
        r"|簡単に|簡潔に|長く|あと|さらに|まず(?:は|何|どれ|どこ)?|今は|そう|どこから|何から|え、)",
        r".{0,30}(?:もっと|もう少し|もうちょっと|もう一|さらに)",
        r".{0,24}(?:にして|に変えて|を変えて|直して|追加して|足して|付けて|つけて|消して|削って|削除して|外して|除いて|減らして|増やして|入れて|加えて"
        r"|まとめて|やり直して|書き直して|言い換えて|続けて|進めて|使って|掘り下げて|深掘りして|例を?挙げて|比べて|並べて|省いて|抜いて|直してほしい|追加)"
        r"(?:みて|もら(?:って|えますか|える)|ください|下さい|くれ(?:る|ますか)?|ほしい(?:です)?|欲しい(?:です)?|お願いします|ね|よ)*[。！!？?]*$",
        r".{1,12}も(?:ちょうだい|ください|お願い(?:します)?|教えて|作って|書いて|見せて|出して|説明して|解説して|付けて|つけて|入れて)(?:ください)?[。！!]*$",
        r".{0,4}[0-9一二三四五]\w{1,6}(?:ください|下さい|ちょうだい|お願いします|お願い)[。！!]*$",
        r"[^のを、]{1,10}(?:で|も|から|なしで|抜きで|風に|付きで|つきで|を|使って|ように|を?詳しく|方を|ほうを|が(?:いい|良い)(?:です)?)[。！!]*$",
        r"[^のがをにで、「」]{1,10}(?:は|では|なら|だと|も|だったら|とか)[？?]*$",
        r"[^の、]{0,14}(?:なったら|だったら|としたら|場合は|なら|[でて]も(?!ら))(?!.*(?:ください|教え|証明|とる))(?:.{0,10})[？?]*$",
        r".{0,4}(?:[一二三四五六七八九十1-9１-９](?:つ目|点目|番目|本目|行目|段目|個目|章|つめ)|[1-9１-９]番|第[一二三四五1-9].|前者|後者|最後の|最初の)",
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
_OFFER = re.compile(
    r"(?:shall|should|can|may|could) (?:i|we)\b|(?:would|do) you (?:like|want)|want me to|let me know (?:if|whether) you(?:'d)? (?:like|want)"
    r"|ましょうか|(?:続け|進め|始め|示し|書き|作り|見せ|出し|い?たし)ますか|いかがですか|よろしいですか|ご希望"
)
_ANYTHING_ELSE = re.compile(
    r"(?:anything|something) else|how (?:can|may) i help|can i (?:help|do)|else (?:can|may) i|what's up|how are you|(?:and|about) you\?"
    r"|on your mind|ほかに|他に|何かあり|お手伝い|ご用件|ご質問|どうしま|どうされ|あなたは|お元気"
)
_AFTER = re.compile(rf"[\s,.!;、。！]+(?:{_THANKS})$")
"""Thanks after the request."""
_LAST_SIGNS = 40
_UNHAPPY = re.compile(
    r"\?|\b(?:but|still|not|error|wrong|fails?|missing|again|instead|please|now|also|next|n't|can|could|\w+n't)\b|けど|まだ|ない|ません|エラー|でも|次|ところで|[？]"
)
"""Words that a message of thanks alone has not."""
_SENTENCES = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_CLAUSE = re.compile(r"[,.;。、！]\s*")
_KANA_ON = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_TRIM = " \t\r\n,.!?;:、。！？：…〜~—–)🙂😊🙏👍😀😂❤️️"


def question_at_end(text: str) -> str:
    """The question or the offer that ends a message of the assistant, at most 300 characters; empty: none."""
    tail = text.rstrip()[-300:]
    if not tail or tail[-1] not in "?？" and not _OFFER.search(tail.lower()[-120:]):
        return ""
    parts: list[str] = [part.strip() for part in _SENTENCES.findall(tail) if part.strip()]
    return parts[-1] if parts else ""


def _kind_of(question: str) -> _Asked:
    if not question:
        return _Asked.NOTHING
    said = question.lower()
    if _ANYTHING_ELSE.search(said):
        return _Asked.ANYTHING_ELSE
    return _Asked.OFFER if _OFFER.search(said) else _Asked.QUESTION


def _before(text: str) -> tuple[set[str], int]:
    """Which words stand before the request, and where it begins."""
    lowered, found, place = text[:_OPENING].lower(), set[str](), 0
    for _ in range(_MOST_BEFORE):
        match = _BEFORE.match(lowered, place)
        if match is None:
            break
        kind = match.lastgroup if match.lastgroup != "gap" else None
        kind = kind or next(name for name, value in match.groupdict().items() if value and name != "gap")
        gap = match["gap"]
        alone = match.end() >= len(text)
        # «Nice restaurants» and «hello world» are no words before a request; «ok what» is.
        if not (alone or gap.strip() or "\n" in gap or kind in _BARE_GAP or _RUNS_ON.match(lowered, place)):
            break
        found.add(kind)
        place = match.end()
    return found, place


def _bare(before: set[str], asked: _Asked) -> Form:
    """The form of a message of such words alone."""
    if "agreed" in before and asked is not _Asked.ANYTHING_ELSE and (
        "thanks" not in before or asked is not _Asked.NOTHING
    ):
        return Form.REPEATS
    if "refused" in before and "thanks" not in before and asked in (_Asked.QUESTION, _Asked.NOTHING):
        return Form.CHANGES
    if "noted" in before and "thanks" not in before and asked is _Asked.OFFER:
        return Form.REPEATS
    if before & {"thanks", "noted", "refused", "agreed"}:
        return Form.CLOSING
    return Form.GREETING if "greeting" in before else Form.REPEATS


def read_turn(text: str, question: str = "", *, first: bool = False) -> Turn:
    """What a message of the user does, after a message of the assistant.

    Args:
        text: of the message.
        question: how the message before it ends, by :func:`question_at_end`.
        first: whether the user said nothing before, so that there is nothing to refer to but the question.
    """
    stripped = text.strip()
    before, place = _before(stripped)
    rest = stripped[place:]
    asked = _kind_of(question)
    core = rest[: LONGEST + 1].lower().strip(_TRIM)
    if (thanks := _AFTER.search(core, max(len(core) - _LAST_SIGNS, 0))) is not None:
        core = core[: thanks.start()].rstrip(_TRIM)
    if not core:
        return Turn(_bare(before, asked) if before else Form.REQUEST if first else Form.REPEATS, text)
    if len(rest) > LONGEST and not (first and not question):
        return Turn(_long(rest, asked), rest if before else text)
    if len(core) <= _LONGEST_CLOSING and _FINISHED.fullmatch(core):
        return Turn(Form.CLOSING, text)
    if _CHAT.fullmatch(core):
        return Turn(Form.GREETING, text)
    if first and not question:
        greeted = before == {"greeting"} and _requests(core)
        return Turn(Form.REQUEST, rest if greeted else text)
    if _GO_ON.fullmatch(core):
        return Turn(Form.REPEATS, rest)
    if _GO_ON.fullmatch(_CLAUSE.split(core, maxsplit=1)[0]) and not _GIVEN.search(rest):
        return Turn(Form.CHANGES, rest)
    said = rest if before else text
    if _ends(core, rest, before, thanks is not None):
        return Turn(Form.CLOSING, text)
    if "shift" in before:
        return Turn(Form.REQUEST, said, alone=True)
    return Turn(_short(core, rest, before, question), said, alone=_QUOTED.search(rest) is not None)


def _ends(core: str, rest: str, before: set[str], thanks: bool) -> bool:
    """Whether a message thanks and otherwise asks for nothing, nor tells of something that is wrong."""
    if not (thanks or "thanks" in before) or len(core) > _LONGEST_CLOSING or _UNHAPPY.search(rest.lower()):
        return False
    if _KANA_ON.search(core) is None:
        return not (_ASKS.match(core) or _REFERS.match(core) and not _SAYS.match(core))
    return not (_JA_WANTS.match(core) or _JA_REFERS.match(core))


def _requests(core: str) -> bool:
    """Whether a message plainly asks for something, so that a greeting before it is no part of it."""
    if _KANA_ON.search(core) is None:
        return _ORDERS.match(core) is not None
    return _JA_ORDERS.match(core) is not None


def _long(rest: str, asked: _Asked) -> Form:
    start = rest[:_OPENING].lower()
    if _RETURNS.match(start):
        return Form.RETURNS
    # What was asked for is given.
    answers = asked is _Asked.QUESTION and _answers(start, rest)
    return Form.CHANGES if answers else Form.REQUEST


def _chosen(core: str, question: str) -> bool:
    """Whether a message has few words that the question before it has not."""
    words = [word for word in core.split() if len(word) > 3]
    asked = question.lower()
    return 0 < len(words) <= 6 and 2 * sum(word in asked for word in words) > len(words)


def _short(core: str, rest: str, before: set[str], question: str) -> Form:
    """The form of a message of at most :data:`LONGEST` characters that is not of known words alone."""
    if _RETURNS.match(core):
        return Form.RETURNS
    asked = _kind_of(question)
    given = _GIVEN.search(rest) is not None
    if given and asked is not _Asked.QUESTION:
        return Form.REQUEST
    spaced = _KANA_ON.search(core) is None
    refers = _refers_spaced if spaced else _refers_unspaced
    if not given and ("doubt" in before or refers(core, rest)):
        return Form.CHANGES
    if asked in (_Asked.QUESTION, _Asked.OFFER) and spaced and _chosen(core, question):
        return Form.CHANGES
    if asked is _Asked.QUESTION and (given or len(core) <= _LONGEST_ANSWER):
        return Form.CHANGES if _answers(core, rest) else Form.REQUEST
    return Form.REQUEST


def _answers(core: str, rest: str) -> bool:
    """Whether a message after a question asks for nothing."""
    wants = _ASKS.match(core) if _KANA_ON.search(core) is None else _JA_WANTS.match(core)
    return wants is None and not rest.rstrip().endswith(("?", "？"))


def _refers_spaced(core: str, rest: str) -> bool:
    if (len(core) <= 120 and _REFERS.match(core)) or _JOINS.match(core) or _FRAGMENT_START.match(core):
        return True
    if len(core) <= _LONGEST_POINTER and not _EMPTY_IT.search(core):
        opening = " ".join(core.split(" ", _POINTER_WORDS)[:_POINTER_WORDS])
        if _POINTS.search(opening):
            return True
    words = core.count(" ") + 1
    if words <= _FRAGMENT_WORDS + rest.rstrip().endswith("?"):
        return not _ASKS.match(core) or words == 1
    return len(core) <= _LONGEST_STATEMENT and _SAYS.match(core) is not None and not _THEN_ASKS.search(rest.lower())


def _refers_unspaced(core: str, rest: str) -> bool:
    if len(core) <= 60 and _JA_REFERS.match(core):
        return True
    question = rest.rstrip().endswith(("?", "？")) or core.endswith("か")
    if len(core) <= _FRAGMENT_SIGNS and not question and not _JA_WANTS.match(core):
        return True
    return not question and len(core) <= 80 and bool(_JA_SAYS.match(core)) and not _JA_WANTS.match(core)
