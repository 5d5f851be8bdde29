package markup

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// failer is what the fuzz tests and the property tests have in common.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// mixture draws texts out of what makes trouble, so that a plain test run covers far more than the fuzz tests' seeds.
var mixture = rapid.Custom(func(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "é", "e\u0301", "\u0301", "\u0323", "\u0344", "\u0336", "ş", "I", "İ", "ك", "أ", "\u064B", "\u0654", "ه\u200C", "क\u094D", "가", "\u302E", "ส\u0E47",
		"1", "٣", "👍", "👩", "🏽", "🏴\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F", "\U000E0061", "\uFE0F", "\uFE0E", "\u20E3", "\u200D", "\u200C",
		"\u200B", "\u034F", "\u202E", "\u2068", "\u2069", "\u00AD", "\uFEFF", "\u3164", "\u2800", "\u00A0", "\u2028", "\x1b[1m", "\x00", "\u0085", "\xff", "\xe2\x80",
		" ", "  ", "\t", "\n", "\r\n", "\n\n\n", "\n- ", "\n  ", "-", "*", "**", "_", "`", "\\", "[", "]", "(", ")", "](https://a.org)", "[b](", "<b>", "&amp;", "\"", "'", "!", "@room",
	}), 0, 24).Draw(t, "parts")
	return strings.Join(parts, "")
})

func TestAnyMixtureComesOutClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkClean(t, mixture.Draw(t, "text")) })
}

func TestAnyMixtureIsShownAsTyped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkEscape(t, mixture.Draw(t, "text")) })
}

func TestAnyMixtureMakesHarmlessHTML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkParse(t, mixture.Draw(t, "text")) })
}

func TestAnyMixtureFoldsLikeItsCleanForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkFold(t, mixture.Draw(t, "text")) })
}
