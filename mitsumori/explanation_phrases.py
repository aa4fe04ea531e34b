"""The words in which a decision is explained, in English and in Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["ENGLISH", "JAPANESE", "Phrases"]


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language. Braces are filled in.

    Attributes:
        chosen: the headline; ``{model}``, ``{goal}``.
        by_chance: is added to it where the best could have lost to chance; ``{probability}``.
        chosen_by_chance: the headline where it has; ``{model}``, ``{goal}``, ``{probability}``.
        goals: by field of the message, for the headline; ``{value}``, ``{complexity}``. ``missed``: of a
            quality target that no model reaches.
        columns: of a table: model, tier, P(adequate), expected price, high price, with risk, outcome.
        facts: of a model in a line: by name; ``{value}``.
        the_choice: outcome of the choice.
        left_out: outcome of a model that was left out; ``{why}``.
        behind: outcome of another model that took part; ``{place}``.
        exclusions: by stable name, why a model was left out.
        by_rule: the same, of a rule; ``{name}``.
        losses: by criterion, what a model lost to; ``{to}``, ``{gap}``, ``{limit}``.
        lost_to: the same as a sentence; ``{loss}``.
        of_limit: names the limit in them; ``{name}``.
        by_goal_alone: what the choice would have lost to by the goal alone; ``{loss}``.
        alone: one change would make it the choice; ``{change}``.
        any_of: each of several would; ``{changes}``.
        all_of: all of several are needed; ``{changes}``.
        then_behind: what it lacks to take part, and what it would lose to; ``{changes}``, ``{loss}``.
        no_change: nothing that was tried helps.
        hopeless: a model was left out, and nothing that a caller or an operator allows helps.
        not_examined: changes were not looked for.
        changes: by lever; ``{name}``, ``{value}``, ``{now}``.
        lowered: by lever, where the value is a most one.
        gaps: by name, what the log does not keep.
        units: of limits: tokens, requests, concurrent; ``{value}``.
        seconds: ``{value}``.
        no_region: of the lever of regions, without a name.
        cap: of the lever of limits, where the limit is the cap of a task; ``{name}``, ``{value}``.
        first: between facts.
        between: of alternatives.
        also: of things that are all needed.
        sentence: between sentences.
        heading: of a model; ``{model}``, ``{tier}``, ``{facts}``.
        colon: between a model and what is said of it.
        no_tier: the same where its tier is not known.
        unknown: of a value or name that this release does not know.
    """

    chosen: str
    by_chance: str
    chosen_by_chance: str
    goals: Mapping[str, str]
    columns: tuple[str, ...]
    facts: Mapping[str, str]
    the_choice: str
    left_out: str
    behind: str
    exclusions: Mapping[str, str]
    by_rule: str
    losses: Mapping[str, str]
    lost_to: str
    of_limit: str
    by_goal_alone: str
    alone: str
    any_of: str
    all_of: str
    then_behind: str
    no_change: str
    hopeless: str
    not_examined: str
    changes: Mapping[str, str]
    lowered: Mapping[str, str]
    gaps: Mapping[str, str]
    units: Mapping[str, str]
    seconds: str
    no_region: str
    cap: str
    first: str
    between: str
    also: str
    sentence: str
    heading: str
    colon: str
    no_tier: str
    unknown: str


ENGLISH: Final = Phrases(
    chosen="{model} was chosen: {goal}.",
    chosen_by_chance="{model} was chosen by chance, with probability {probability}. The goal: {goal}.",
    by_chance="Chance had a part in it: the probability of this choice was {probability}.",
    goals={
        "miss_cost": "the least expected cost, where a miss costs {value} at complexity {complexity}",
        "willingness_to_pay": "the largest surplus, where an adequate answer is worth {value}",
        "quality_target": "the cheapest model with P(adequate) of at least {value}",
        "missed": "no model has P(adequate) of at least {value}; it is the cheapest near the best",
    },
    columns=("model", "tier", "P(adequate)", "expected", "high", "with risk", "outcome"),
    facts={
        "p_adequate": "P(adequate) {value}",
        "expected_price": "{value} expected",
        "expected_cost": "{value} with risk",
    },
    the_choice="the choice",
    left_out="left out: {why}",
    behind="no. {place}",
    exclusions={
        "not_in_allowed_models": "not among the allowed models",
        "not_in_allowed_tiers": "not of an allowed tier",
        "retired": "retired",
        "not_in_regions": "not served in an allowed region",
        "lacks_capability": "lacks a required capability",
        "unknown_to_the_classifier": "the bundle does not predict for it",
        "no_price": "has no price",
        "context_window_too_small": "the prompt does not fit",
        "over_max_price": "above the maximum price",
        "over_max_latency": "above the maximum latency",
        "over_max_first_token": "above the maximum time to the first token",
        "limit_wait_for_holds": "open holds take what is left of a limit",
        "limit_exhausted": "too little is left of a limit",
        "limit_never_fits": "needs more than a whole limit",
        "limit_task_cap": "needs more than the cap of the task has left",
        "over_soft_limit": "a soft limit forbids the top tier",
        "unhealthy": "calls to it fail",
        "of_a_failed_provider": "its provider has just failed",
        "no_more_able": "it is no more able than a model whose answer to this task was inadequate",
        "provider_full": "its provider has no room for the call",
    },
    by_rule="forbidden by the rule {name}",
    losses={
        "EXPECTED_COST": "{to}, whose expected cost is {gap} lower",
        "SURPLUS": "{to}, whose surplus is {gap} larger",
        "PRICE": "{to}, which is good enough and {gap} cheaper",
        "TARGET": "{to}: its own P(adequate) is {gap} below the target",
        "NEAR_BEST": "{to}: its own P(adequate) is {gap} too far below the best",
        "TIE": "{to}, which is as good, and goes first because of its price, speed or name",
        "SOFT_LIMIT": "{to}, because a soft limit acts{limit}",
        "CHANCE": "chance, which chose {to}; it would have been chosen with probability {gap}",
        "OTHER": "{to}, for another reason than the goal",
    },
    lost_to="It lost to {loss}.",
    of_limit=": {name}",
    by_goal_alone="By the goal alone, it would have lost to {loss}.",
    alone="It would be the choice with {change}.",
    any_of="It would be the choice with any one of these: {changes}.",
    all_of="It would be the choice with all of these: {changes}.",
    then_behind="It would take part with {changes}, and then lose to {loss}.",
    no_change="No single change would make it the choice.",
    hopeless="No change of the request would let it take part.",
    not_examined="Too many models: what would have to change was not looked for.",
    changes={
        "PRICE": "an expected price of at most {value} (now {now})",
        "P_ADEQUATE": "P(adequate) of at least {value} (now {now})",
        "MISS_COST": "a miss that costs at least {value} (now {now})",
        "WILLINGNESS_TO_PAY": "a willingness to pay of at least {value} (now {now})",
        "QUALITY_TARGET": "a quality target of at least {value} (now {now})",
        "MAX_PRICE": "max_price of at least {value} (now {now})",
        "MAX_LATENCY": "max_latency of at least {value} (now {now})",
        "MAX_FIRST_TOKEN": "max_first_token of at least {value} (now {now})",
        "REGIONS": "the region {name} among the regions",
        "REQUIRED_CAPABILITIES": "the capability {name} not among the required capabilities",
        "ALLOWED_TIERS": "the tier {name} among the allowed tiers",
        "ALLOWED_MODELS": "this model among the allowed models",
        "HEALTH": "calls to it that succeed again",
        "FAILED_PROVIDER": "a provider that had not failed this request ({name})",
        "RULE": "no rule {name} in the routing table",
        "LIMIT": "{value} more under limit {name}",
    },
    lowered={
        "MISS_COST": "a miss that costs at most {value} (now {now})",
        "WILLINGNESS_TO_PAY": "a willingness to pay of at most {value} (now {now})",
        "QUALITY_TARGET": "a quality target of at most {value} (now {now})",
    },
    gaps={
        "LEFT_OUT": "The log does not keep which models were left out by constraints, rules or limits.",
        "UNHEALTHY": "The log does not keep quotes of models that were left out because calls to them fail.",
        "RULES": "The log does not keep what the rules did that applied; `mitsumori rules show` has today's.",
        "LIMITS": "The log does not keep what soft limits and pacing changed: this is told as if without.",
        "CHOICE": "Something else than the goal decided: the reasons of the decision name it.",
    },
    units={
        "tokens": "{value} tokens",
        "requests": "{value} requests",
        "concurrent": "{value} requests at once",
    },
    seconds="{value} s",
    no_region="no demand for a region",
    cap="{value} more under the cap of {name}",
    first=", ",
    between="; ",
    also=", and ",
    sentence=" ",
    heading="{model} ({tier}): {facts}.",
    colon=": ",
    no_tier="{model}: {facts}.",
    unknown="something that this release does not know ({name})",
)

JAPANESE: Final = Phrases(
    chosen="{model} が選ばれました。{goal}です。",
    chosen_by_chance=(
        "{model} が確率的な試行により選ばれました（選ばれる確率は {probability}）。目標は、{goal}です。"
    ),
    by_chance="この選択は確率的な試行の対象で、選ばれる確率は {probability} でした。",
    goals={
        "miss_cost": "不適切な回答の損失を {value}（複雑さ {complexity}）として、期待コストが最も低いモデル",
        "willingness_to_pay": "適切な回答の価値を {value} とみたとき、差し引きの利益が最も大きいモデル",
        "quality_target": "適切に答える確率が {value} 以上のモデルのうち、最も安いもの",
        "missed": "適切に答える確率が {value} に届くモデルがなく、最良に近いモデルのうち最も安いもの",
    },
    columns=(
        "モデル",
        "ティア",
        "適切に答える確率",
        "予想価格",
        "高めの価格",
        "リスク込み",
        "結果",
    ),
    facts={
        "p_adequate": "適切に答える確率 {value}",
        "expected_price": "予想価格 {value}",
        "expected_cost": "リスク込み {value}",
    },
    the_choice="選ばれたモデル",
    left_out="対象外：{why}",
    behind="{place} 位",
    exclusions={
        "not_in_allowed_models": "許可されたモデルではない",
        "not_in_allowed_tiers": "許可されたティアではない",
        "retired": "提供が終了している",
        "not_in_regions": "許可されたリージョンで提供されていない",
        "lacks_capability": "必要な機能がない",
        "unknown_to_the_classifier": "分類器がこのモデルを予測できない",
        "no_price": "価格が登録されていない",
        "context_window_too_small": "プロンプトが長すぎる",
        "over_max_price": "価格の上限を超えている",
        "over_max_latency": "応答時間の上限を超えている",
        "over_max_first_token": "最初のトークンまでの時間の上限を超えている",
        "limit_wait_for_holds": "利用枠の残りが、ほかの呼び出しのために確保されている",
        "limit_exhausted": "利用枠の残りが足りない",
        "limit_never_fits": "利用枠の全体でも足りない",
        "limit_task_cap": "タスクの上限の残りが足りない",
        "over_soft_limit": "利用枠の警告値により、最上位のティアは使えない",
        "unhealthy": "呼び出しの失敗が続いている",
        "of_a_failed_provider": "提供元への呼び出しが失敗したばかり",
        "no_more_able": "この課題への回答が不十分だったモデルより能力が高くない",
        "provider_full": "提供元の利用上限に空きがない",
    },
    by_rule="ルール {name} が禁じている",
    losses={
        "EXPECTED_COST": "{to} のほうが期待コストが {gap} 低い",
        "SURPLUS": "{to} のほうが差し引きの利益が {gap} 大きい",
        "PRICE": "{to} も品質は十分で、{gap} 安い",
        "TARGET": "適切に答える確率が品質目標に {gap} 届かず、目標に届く {to} が優先される",
        "NEAR_BEST": "適切に答える確率が最良のモデルから {gap} 離れすぎており、{to} が優先される",
        "TIE": "{to} と同等で、価格、速さ、名前の順により {to} が優先される",
        "SOFT_LIMIT": "利用枠の警告値{limit}により、{to} が優先される",
        "CHANCE": "確率的な試行で {to} が選ばれた（このモデルが選ばれる確率は {gap}）",
        "OTHER": "目標とは別の理由で {to} が優先された",
    },
    lost_to="選ばれなかったのは、{loss}ためです。",
    of_limit="（{name}）",
    by_goal_alone="目標だけで選んでいれば、選ばれていませんでした。{loss}ためです。",
    alone="{change}であれば、選ばれます。",
    any_of="次のいずれか一つを満たせば、選ばれます：{changes}。",
    all_of="次のすべてを満たせば、選ばれます：{changes}。",
    then_behind="{changes}であれば候補になりますが、それでも選ばれません。{loss}ためです。",
    no_change="一つの変更だけでは選ばれません。",
    hopeless="依頼をどう変えても候補になりません。",
    not_examined="モデルが多いため、何が変われば選ばれるかは調べていません。",
    changes={
        "PRICE": "予想価格が {value} 以下（現在 {now}）",
        "P_ADEQUATE": "適切に答える確率が {value} 以上（現在 {now}）",
        "MISS_COST": "不適切な回答の損失が {value} 以上（現在 {now}）",
        "WILLINGNESS_TO_PAY": "支払ってよい額が {value} 以上（現在 {now}）",
        "QUALITY_TARGET": "品質目標が {value} 以上（現在 {now}）",
        "MAX_PRICE": "max_price が {value} 以上（現在 {now}）",
        "MAX_LATENCY": "max_latency が {value}以上（現在 {now}）",
        "MAX_FIRST_TOKEN": "max_first_token が {value}以上（現在 {now}）",
        "REGIONS": "リージョン {name} も許可する設定",
        "REQUIRED_CAPABILITIES": "機能 {name} を必須としない設定",
        "ALLOWED_TIERS": "ティア {name} も許可する設定",
        "ALLOWED_MODELS": "このモデルも許可する設定",
        "HEALTH": "呼び出しの失敗が収まった状態",
        "FAILED_PROVIDER": "提供元 {name} がこの依頼で失敗していない状態",
        "RULE": "ルール {name} がない状態",
        "LIMIT": "利用枠 {name} の不足分（{value}）を補った状態",
    },
    lowered={
        "MISS_COST": "不適切な回答の損失が {value} 以下（現在 {now}）",
        "WILLINGNESS_TO_PAY": "支払ってよい額が {value} 以下（現在 {now}）",
        "QUALITY_TARGET": "品質目標が {value} 以下（現在 {now}）",
    },
    gaps={
        "LEFT_OUT": "制約、ルール、利用枠によって対象外となったモデルは、記録に残りません。",
        "UNHEALTHY": "呼び出しの失敗で対象外となったモデルの見積もりは、記録に残りません。",
        "RULES": "適用されたルールの内容は記録に残りません（現在のものは `mitsumori rules show` を参照）。",
        "LIMITS": "利用枠の警告値や消費ペースの影響は記録に残らないため、ないものとして説明しています。",
        "CHOICE": "目標とは別の理由で決まりました。理由は決定の reasons にあります。",
    },
    units={
        "tokens": "{value} トークン",
        "requests": "{value} 件",
        "concurrent": "同時に {value} 件",
    },
    seconds="{value} 秒",
    no_region="リージョンを指定しない設定",
    cap="{name} の上限の不足分（{value}）を補った状態",
    first="、",
    between="／",
    also="、かつ",
    sentence="",
    heading="{model}（{tier}）：{facts}。",
    colon="：",
    no_tier="{model}：{facts}。",
    unknown="このリリースでは分からないもの（{name}）",
)
