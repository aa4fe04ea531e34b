"""Words of a chat that ask for nothing: greetings, thanks, agreement, and messages of such words alone.

Closed lists for English and Japanese; of other languages only the commonest words.
"""

from __future__ import annotations

import re

__all__ = [
    "CHAT",
    "CLAUSE",
    "FINISHED",
    "GO_ON",
    "TRIMMED",
    "either",
    "thanks_at_end",
    "unhappy",
    "words_before",
]

_OPENING = 160
"""Characters of a message in which words before the request are looked for."""


def either(*words: str) -> str:
    """A pattern of alternatives."""
    return "|".join(words)


# --- Words before a request --------------------------------------------------------------------

_GREETING = either(
    r"(?:hi|hello|hey|hiya|howdy|yo|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: (?:there|all|everyone|team|again|guys|folks))?",
    r"(?:guten (?:morgen|tag|abend)|hallo|bonjour|bonsoir|salut|hola|buenos días|ciao|olá|привет"
    r"|здравствуйте)",
    r"(?:こんにち[はわ]|こんばん[はわ]|おはよ(?:う|ー)*(?:ございます)?|はじめまして|初めまして|お疲れ(?:様|さま)(?:です)?"
    r"|おつかれ(?:様|さま)(?:です)?|お世話に(?:なって(?:います|おります)|なります)|やっほー|もしもし|ハロー)",
    r"(?:你好|您好|안녕하세요)",
)
_THANKS = either(
    r"(?:many |ok |okay |no |lol )?(?:thanks?(?: you)?|thx|tysm|ty|cheers|much appreciated)"
    r"(?: (?:so much|very much|a lot|a million|a ton|again|in advance|for (?:(?:your|the|all"
    r"|clearing|explaining|fixing|doing|helping|checking)(?: (?:your|the|that|this|it"
    r"|me))? ?)?\w*(?: up| out)?))*",
    r"(?:vielen dank|danke(?: schön| sehr)?|merci(?: beaucoup)?|(?:muchas )?gracias"
    r"|grazie(?: mille)?"
    r"|(?:muito )?obrigad[oa]|(?:большое )?спасибо)",
    r"(?:本当に|ほんとに|どうも|色々|いろいろ)?(?:ありがと(?:う|ー)*(?:ございま(?:す|した))?|有難うございま(?:す|した)"
    r"|感謝(?:です|します|しています)|助かり(?:ました|ます)|サンキュー|あざす)",
    r"どうも(?:です)?",
    r"(?:谢谢(?:你|您)?|謝謝|多谢|감사합니다|고마워(?:요)?)",
)
_AGREED = either(
    r"(?:yes|yeah|yep|yup|sure(?: thing)?|absolutely|definitely|of course|please do|yes please"
    r"|go for it|do it)",
    r"(?:sounds|looks) (?:good|right|fine|great|correct)(?: to me)?",
    r"(?:ja|oui|sí|si|sim|да)(?: (?:bitte|s'il (?:te|vous) plaît|por favor|per favore))?",
    r"(?:はい|うん|ええ|ぜひ(?:とも)?|是非|もちろん|そうして(?:ください)?|(?:それで|では)?(?:よろしく)?お願い(?:します|いたします|致します)?"
    r"|頼みます|いい感じ(?:です)?|良さそう(?:です)?|よさそう(?:です)?)",
    r"(?:好的?|是的?|네)",
)
_REFUSED = either(
    r"(?:no|nope|nah|not really|not now)",
    r"(?:nein|non)",
    r"(?:いいえ|いえ|いや|大丈夫です|結構です|けっこうです|特にないです|ないです)",
)
_NOTED = either(
    r"(?:ok(?:ay)?|k|alright|all right|great|perfect|nice|cool|good|awesome|amazing|excellent"
    r"|brilliant|wonderful"
    r"|fantastic|beautiful|lovely|wow|fine|right|lgtm|fair enough|interesting)",
    r"(?:got it|gotcha|i (?:see|get it)(?: now)?|understood|i understand(?: now)?|makes sense"
    r"|noted|love it"
    r"|oh (?:right|ok|i see)|that (?:makes sense|works|helps))",
    r"(?:なるほど(?:です(?:ね)?|ね)?|了解(?:です|しました|いたしました)?|りょ|(?:やっと|よく)?(?:わか|分か|判)り(?:ました|ます)"
    r"|わかった|分かった|承知(?:しました|いたしました|です)?|納得(?:です|しました)?|ok(?:です)?|おk|オッケー(?:です)?"
    r"|いい(?:です)?ね|(?:これで)?完璧(?:です)?|素晴らしい(?:です)?|素敵(?:です)?|すごい(?:です)?|さすが(?:です)?|最高(?:です)?"
    r"|できました|すっきり(?:です|しました)|そうか|そうですか|そうでした|そうなんだ|よかった(?:です)?)",
    r"(?:明白了?|알겠습니다)",
)
_FILLER = either(
    r"(?:well|hmm+|uh|um|ah+|oh|lol|haha+|actually|anyway)",
    r"(?:うーん|ええと|えっと|あー|あっ|え|あ|ふむ|へえ|まあまあ)",
)
_DOUBT = r"(?:wait|hold on|sorry|hang on|すみません|ちょっと待って)"
_SHIFT = either(
    r"(?:by the way|btw|unrelated(?:ly)?|different (?:topic|question|subject)|new (?:question"
    r"|topic|task)"
    r"|(?:next|another|one (?:more|last)|quick|second) question|changing (?:the )?(?:topic"
    r"|subject)|on another note)",
    r"(?:ところで|話は変わ(?:りますが|るけど)|話変わ(?:りますが|るけど)|別件(?:ですが|で|です)|全く別の話(?:ですが)?"
    r"|(?:次|別|もう一つ)の?質問(?:です(?:が)?)?)",
)
_END = r"(?=[\s,.!?;:、。！？：…〜~ー—–)🙂😊🙏👍😀😂❤️]|-(?!\w)|$)"
_GAP = r"[\s,.!;:、。！：…〜~ー—–)🙂😊🙏👍😀😂❤️]*"
_BEFORE = re.compile(
    rf"(?:(?P<greeting>{_GREETING})|(?P<thanks>{_THANKS})|(?P<agreed>{_AGREED})"
    rf"|(?P<refused>{_REFUSED})"
    rf"|(?P<noted>{_NOTED})|(?P<doubt>{_DOUBT})|(?P<shift>{_SHIFT})"
    rf"|(?P<filler>{_FILLER})){_END}(?P<gap>{_GAP})"
)
_BARE_GAP = {"filler", "doubt", "shift"}
"""Words after which a request may go on without a sign: «so what…», «wait what…»."""
_RUNS_ON = re.compile(
    r"(?:ok|okay) |\w+ (?:thanks?|thx|ty|cheers)\b|(?:yes|yeah|yep|yup|sure) (?:do|please|go|it"
    r"|that|the|let|continue|proceed|just|but|and|with|in|use|make|write|show)\b"
    r"|(?:no|nope) (?:that|it|i|the|you|this|use|make|but|not|sorry|wait|thanks?)\b"
)
"""What else goes on without a sign."""
_MOST_BEFORE = 5


# --- Whole messages ----------------------------------------------------------------------------

FINISHED = re.compile(
    either(
        r"(?:that|this|it|everything|all|you)(?:'s| is| was|'re| are)? ?(?:all|it|exactly|really"
        r"|very|so|just|now)* ?"
        r"(?:what i (?:needed|wanted|was looking for)|i needed|helpful|great|perfect|clear(?:er)?"
        r"|good|awesome|amazing"
        r"|the best|fixed|solved|fine|it|all|correct|right|works?(?: now| great| perfectly)?"
        r"|worked|helps?(?: a lot)?"
        r"|helped(?: a lot)?|did it|answers my question|fixed it|explains it"
        r"|makes (?:more )?sense(?: now)?)",
        r"(?:all|crystal) clear",
        r"(?:bye|goodbye|see you|good ?night|later|take care|have a (?:nice|great"
        r"|good) \w+)(?: .{0,20})?",
        r"i(?:'ll| will) (?:try|do|check|use|take) (?:it|that|this)(?: out)?(?: now)?",
        r"(?:never ?mind|forget it|i'm (?:good|done|all set)|nothing else|no more questions"
        r"|for (?:your|the|all) .{1,30})",
        r"(?:that|your) \w+(?: \w+)? (?:is|was|looks) (?:really |very |so )?(?:great|perfect"
        r"|helpful|good|brilliant)",
        r"(?:また|では|じゃあ|それでは)?(?:また|失礼します|おやすみ(?:なさい)?|さようなら|バイバイ|よい一日を)(?:明日|来ます|聞きます|ね|お願いします|、)*",
        r"(?:これで|それで|以上で|もう)?(?:大丈夫|十分|完璧|解決|ok|オッケー|結構|終わり|以上)(?:です|しました|でした|だ)?",
        r"(?:とても|すごく|大変|本当に)?(?:よく|やっと)?(?:助かりました|分かりました|わかりました|参考になりました|勉強になりました"
        r"|うまくいきました|いけました|動きました|直りました|解決しました|それでした|できました)",
        r"(?:まさに)?(?:これ|それ)です",
        r"(?:また(?:何かあれば)?|あとで)(?:聞きます|お願いします|試します|やってみます)|(?:試して|やって)みます",
    )
)
CHAT = re.compile(
    r"(?:how (?:are|r) (?:you|u|things)(?: doing| today)*|how'?s it going|what'?s up|sup|(?:are "
    r"|r )?(?:you|u) (?:there|around|up))"
    r"|(?:(?:お)?元気(?:ですか|です|)|調子(?:は)?どう(?:ですか)?|(?:今)?いますか|いる|今ちょっといいですか)"
)
GO_ON = re.compile(
    r"(?:(?:please|and|now|then|just|can you|could you|ok|keep) ?)*"
    r"(?:continue|go on|go ahead|proceed|keep going|going|carry on|next(?: one| part| step)?|more"
    r"|again|go|start"
    r"|try (?:again|it|that|once more)|(?:do|finish|write|show|fix|redo|repeat|try|run|solve"
    r"|complete|explain|send) "
    r"(?:it|that|this|so|them|these|those|all of (?:it|them)|them all|both)(?: (?:all|again|out"
    r"|up|from there|for me))*"
    r"|redo|what(?:'s| is)? (?:next|else)|anything else|the rest|and then|then what|elaborate"
    r"|explain|tell me more|say more"
    r"|why|why not|how|how so|how come|really|are you sure(?: (?:about )?(?:it|that|this))?"
    r"|seriously|what do you mean"
    r"|what does (?:that|this|it) mean|what|meaning|huh|(?:can|could) you (?:elaborate|explain"
    r"|clarify)|i don'?t (?:get|understand)"
    r"(?: (?:it|that|this))?|(?:that|it) (?:didn'?t|doesn'?t|does not|did not"
    r"|still doesn'?t) (?:work|help)|same (?:thing|here|error|problem|issue)"
    r"|that'?s (?:wrong|not (?:right|correct|it|what i (?:asked|meant|wanted))))"
    r"(?: ?(?:please|pls|now|then|with (?:it|that)|thanks|further|exactly|though))*"
    r"|weiter|weitermachen|warum|mach weiter|continuez?|pourquoi|continúa|sigue|por qué|continua"
    r"|perché|continue|por quê|дальше|продолжай|почему"
    r"|(?:そのまま|どんどん|先を|じゃあ|では)?(?:続け|進め|やっ|始め"
    r"|やり直し)て(?:みて)?(?:ください|下さい|くれ(?:ますか)?|お願いします|ほしい(?:です)?)?"
    r"|(?:続き|次|残り|その先|もう(?:一度|一回))(?:を|も|は|に)?(?:お願い(?:します|いたします)?"
    r"|ください|下さい|頼む|書いて|見せて|教えて|行って|どうぞ)*"
    r"|(?:それは?|これは?|でも)?(?:なぜ|なんで|何故|どうして|どうやって|どういう(?:こと|意味)"
    r"|いつ|どこ|だれ|誰|いくら|いくつ|どれ|どっち|どのくらい|本当|ほんと|まじ|マジ)(?:ですか"
    r"|なの|なんですか|に|だ)?"
    r"|(?:ダメ|だめ|駄目)(?:でした|です)|(?:変わり|動き|直り|うまくいき|でき)ません(?:でした)?|違います|同じ(?:です|エラーです)"
    r"|(?:よく|まだ)?(?:分かりません|わかりません|分からない(?:です)?|わからない(?:です)?)"
    r"|(?:全部|すべて|両方)(?:やって|直して|お願いします|書いて)(?:ください)?"
    r"|(?:それ|これ|その(?:通り|とおり|まま)?)で?(?:お願いします|やって(?:ください)?|進めて(?:ください)?)|もっと|具体的に"
    r"|继续|繼續|接着说|为什么|為什麼|계속(?:해줘|해주세요)?|왜(?:요)?"
)

_AFTER = re.compile(rf"[\s,.!;、。！]+(?:{_THANKS})$")
"""Thanks after the request."""
_LAST_SIGNS = 40
_UNHAPPY = re.compile(
    r"\?|\b(?:but|still|not|error|wrong|fails?|missing|again|instead|please|now|also|next|n't|can"
    r"|could|\w+n't)\b|けど|まだ|ない|ません|エラー|でも|次|ところで|[？]"
)
"""Words that a message of thanks alone has not."""
CLAUSE = re.compile(r"[,.;。、！]\s*")
TRIMMED = " \t\r\n,.!?;:、。！？：…〜~—–)🙂😊🙏👍😀😂❤️️"


def words_before(text: str) -> tuple[set[str], int]:
    """Which words stand before the request, and where it begins."""
    lowered, found, place = text[:_OPENING].lower(), set[str](), 0
    for _ in range(_MOST_BEFORE):
        match = _BEFORE.match(lowered, place)
        if match is None:
            break
        kind = match.lastgroup if match.lastgroup != "gap" else None
        kind = kind or next(
            name for name, value in match.groupdict().items() if value and name != "gap"
        )
        gap = match["gap"]
        alone = match.end() >= len(text)
        # «Nice restaurants» and «hello world» are no words before a request; «ok what» is.
        if not (
            alone
            or gap.strip()
            or "\n" in gap
            or kind in _BARE_GAP
            or _RUNS_ON.match(lowered, place)
        ):
            break
        found.add(kind)
        place = match.end()
    return found, place


def thanks_at_end(core: str) -> int | None:
    """Where the thanks begin with which a message ends; ``None``: it ends otherwise."""
    found = _AFTER.search(core, max(len(core) - _LAST_SIGNS, 0))
    return None if found is None else found.start()


def unhappy(text: str) -> bool:
    """Whether a message says that something is wrong or asked for, so that it does not only thank."""
    return _UNHAPPY.search(text) is not None
