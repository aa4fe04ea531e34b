"""What a reply says about a prompt in a script that the encoder does not read."""

from collections.abc import Sequence
from dataclasses import replace

from router.classifier.encoder import find_encoder, load_encoder
from router.core.types import Constraints, Importance, Message, Prompt, QualityTarget
from router.paths import ENCODERS
from router.routing.router import RouteQuery, Router

MULTILINGUAL = load_encoder(find_encoder(ENCODERS, "multilingual")).manifest.languages


def reading(router: Router, languages: Sequence[str]) -> Router:
    """The same router, but that its encoder says that it understands these languages."""
    bundle = router.bundle
    manifest = bundle.encoder.manifest.model_copy(update={"languages": list(languages)})
    changed = replace(bundle, encoder=replace(bundle.encoder, manifest=manifest))
    return replace(router, bundles=lambda: changed)


def notes(router: Router, text: str) -> set[str]:
    prompt = Prompt((Message("user", text),))
    asked = RouteQuery("", {}, prompt, Constraints(), QualityTarget(0.9), Importance.MEDIUM, "", 0)
    return {reason.code for reason in router.assess(asked).notes}


def test_an_english_encoder_says_that_it_does_not_read_japanese(router: Router) -> None:
    english = reading(router, ["en"])
    assert "LANGUAGE_NOT_COVERED" in notes(english, "東京の明日の天気を教えてください。")
    assert "LANGUAGE_NOT_COVERED" not in notes(english, "Tell me the weather in Tokyo.")


def test_the_languages_of_the_multilingual_encoder_leave_nothing_to_say(router: Router) -> None:
    japanese = reading(router, MULTILINGUAL)
    assert "LANGUAGE_NOT_COVERED" not in notes(japanese, "東京の明日の天気を教えてください。")
