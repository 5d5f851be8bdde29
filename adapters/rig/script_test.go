package rig_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

func TestWrongLinesAreNamed(t *testing.T) {
	const room = "@room london members=sam\n"
	for _, c := range []struct{ script, want string }{
		{"@dance", "line 1: there is no directive @dance"},
		{"@", "line 1: @ alone"},
		{"# fine\n\nhello", "line 3: \"hello\" is no comment"},
		{room + "[london] sam: /echo a\n  b\n[nowhere] sam: hi", "line 4: there is no room nowhere"},
		{room + "[london] sam says hi", "line 2: what sam does: not understood from \"says hi\""},
		{room + "[london] sam", "line 2: what sam does: the colon"},
		{room + "[london] sam replies: yes", "line 2: in london: the bot has said nothing"},
		{room + "[london] sam: /echo hi\n[london] sam replies to N-7K3Q: yes", "line 3: in london: nothing that the bot said shows N-7K3Q"},
		{room + "[london] sam reacts", "line 2: what sam does: with which emoji"},
		{room + "[london] sam reacts ✅: hi", "line 2: what sam does: reacts takes no text"},
		{room + "[london] sam edits: hi", "line 2: sam has said nothing in london"},
		{room + "[london] sam attaches plan.png: hi", "line 2: there is no file plan.png"},
		{room + "[london] sam (shouting): hi", "line 2: what sam does: there is no mark (shouting)"},
		{room + "[london] sam (sent yesterday): hi", "line 2: \"yesterday\" is not when"},
		{room + "@leave london jo", "line 2: jo is not in london"},
		{room + "@seed 8", "line 2: @seed"},
		{"@seed x", "line 1: @seed"},
		{"@clock tomorrow", "line 1: parsing time"},
		{room + "@clock 2026-01-01T00:00:00Z", "line 2: the clock cannot go back"},
		{"@advance soon", "line 1: \"soon\" is not a length of time"},
		{"@advance -3h", "line 1: \"-3h\" is not a length of time"},
		{"@advance", "line 1: @advance takes"},
		{"@network sig like=pigeon", "line 1: no network is like \"pigeon\""},
		{"@network matrix", "line 1: there is a network matrix already"},
		{"@room a on=sig", "line 1: there is no network sig"},
		{"@room a lang=xx", "line 1: the bot does not speak \"xx\""},
		{"@room a tz=Mars/Olympus", "line 1: there is no time zone Mars/Olympus"},
		{"@room a color=red", "line 1: @room knows no color="},
		{"@room a follows=b", "line 1: there is no chapter b"},
		{"@room a loud", "line 1: a room is plain or encrypted"},
		{room + room, "line 2: there is a room london already"},
		{"@invite a", "line 1: @invite says who"},
		{"@crash sometimes", "line 1: the bot cannot crash at \"sometimes\""},
		{room + "@refuse london twice X", "line 2: @refuse takes"},
		{"@translator maybe", "line 1: @translator takes"},
		{`@serve http://example.org/ "a`, "line 1: a quotation mark is not closed"},
	} {
		out, err := play(t, c.script)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s\n%s", c.script, err, c.want, out)
		}
	}
}

func TestABrokenSilenceIsAnErrorAtTheEnd(t *testing.T) {
	out, err := play(t, "@room london members=sam\n[london] sam: /echo hi\n@silence\n[london] sam: hm\n@silence\n[london] sam: /echo end\n# a comment\n@silence\n")
	if err == nil || err.Error() != "line 3: the bot was not silent\nline 8: the bot was not silent" {
		t.Errorf("err = %v", err)
	}
	if !strings.HasSuffix(out, "[london] starling: You said end\n# a comment\n@silence\n") {
		t.Errorf("the conversation did not go on:\n%s", out)
	}
}

func TestErrorsOfTheEngineAreErrorsOfTheConversation(t *testing.T) {
	o := options()
	o.ErrorsAllowed = false
	_, err := rig.PlayText(t.Context(), "@room london members=sam\n[london] sam: /break", o)
	if err == nil || !strings.Contains(err.Error(), "errors of the engine: 1") {
		t.Errorf("err = %v", err)
	}
}

func TestWhoTypesLiveIsToldWhatIsWrong(t *testing.T) {
	o := options()
	o.Live = true
	out, err := rig.PlayText(t.Context(), "@dance\n@room london lang=en members=sam\n[london] sam: /echo hi\n", o)
	if err != nil || out != "line 1: there is no directive @dance\n[london] starling: You said hi\n" {
		t.Errorf("err = %v, out = %s", err, out)
	}
}

func TestTheSeedDecidesWhatIsRandom(t *testing.T) {
	keys := func(seed string) string {
		var key string
		o := options()
		o.Capabilities = func() []bot.Capability {
			caps := testCapability()
			caps[0].Commands[0].Do = func(t *bot.Turn, _ bot.Args) error {
				key = t.Room.Chapter
				return nil
			}
			return caps
		}
		if _, err := rig.PlayText(t.Context(), "@seed "+seed+"\n@room london chapter=London members=sam\n[london] sam: /echo hi", o); err != nil {
			t.Fatal(err)
		}
		return key
	}
	if a, b, c := keys("7"), keys("7"), keys("8"); a != b || a == c || len(a) != 20 {
		t.Errorf("chapters %s %s with one seed, %s with another", a, b, c)
	}
}

func TestPlain(t *testing.T) {
	for script, want := range map[string]bool{
		"@room a members=sam\n[a] sam: hi\n@silence\n":      true,
		"@room a members=sam\n[a] sam: hi\n@advance 1h\n":   true,
		"@network sig like=signal\n":                        false,
		"@room a\n[a] sam (clear): hi\n":                    true,
		"@room a\n[a] sam (again): hi\n":                    false,
		"@room a\n[a] sam (sent 10:00): hi\n":               false,
		"@room a\n[a] sam attaches x.png: hi\n":             false,
		"@dance":                                            false,
		"@room a\n[a] sam reacts ✅ to A-2M8X\n[@b] b: hi\n": true,
	} {
		if got := rig.Plain(script); got != want {
			t.Errorf("Plain(%q) = %v", script, got)
		}
	}
}

func TestReadable(t *testing.T) {
	for in, want := range map[string]string{
		"**bold** _it_ `code` [a](https://example.org)": "**bold** _it_ `code` [a](https://example.org)",
		"- one\n- two\n  more":                          "- one\n- two\n  more",
		`\*\*not\*\* \[a\]\(b\)`:                        `\*\*not\*\* \[a](b)`,
		"\u2068ana\u2069: \u2066N-7K3Q\u2069":           "ana: N-7K3Q",
	} {
		if got := rig.Readable(in); got != want {
			t.Errorf("Readable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestArchive(t *testing.T) {
	a, err := rig.ReadArchive([]byte("About.\nneeds: rig\n-- talk --\n@silence\n-- a.txt --\nhi\n"))
	if err != nil || a.Talk != "@silence\n" || a.Plain() || a.Files()["a.txt"] == nil {
		t.Fatalf("%+v %v", a, err)
	}
	b, err := rig.ReadArchive(a.With("@silence\n"))
	if err != nil || b.Want != "@silence\n" || b.Talk != a.Talk {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := rig.ReadArchive([]byte("-- want --\n")); err == nil {
		t.Error("an archive without talk was read")
	}
}

func TestNetworkRefusesWhatCannotBe(t *testing.T) {
	n := rig.NewNetwork("console", rig.LikeMatrix(), rig.NewClock(time.Unix(0, 0)), nil)
	if err := n.Create(rig.Room{ID: "!a", Members: []rig.Member{{Person: "@ana", Name: "ana"}}}); err != nil {
		t.Fatal(err)
	}
	if err := n.Create(rig.Room{ID: "!a"}); err == nil {
		t.Error("a room was made twice")
	}
	if _, err := n.Say(rig.Said{Room: "!a", Person: "@nobody", Text: "hi"}); err == nil {
		t.Error("somebody spoke who is not there")
	}
	id, err := n.Say(rig.Said{Room: "!a", Person: "@ana", Text: "hi"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Edit("!a", "@nobody", id, "ho"); err == nil {
		t.Error("somebody edited another's message")
	}
	for _, out := range []bot.Outgoing{
		{ID: "x-1", Room: "!b", Kind: bot.OutMessage, Text: "hi"},
		{ID: "x-2", Room: "!a", Kind: bot.OutMessage, Text: " "},
		{ID: "x-3", Room: "!a", Kind: bot.OutEdit, Target: id, Text: "hi"},
		{ID: "x-4", Room: "!a", Kind: bot.OutDelete, Target: id},
		{ID: "x-5", Room: "!a", Kind: bot.OutReaction, Target: "$none", Text: "✅"},
		{ID: "x-6", Room: "!a", Kind: bot.OutFile},
		{ID: "x-7", Room: "!a", Kind: "song"},
	} {
		if _, err := n.Send(t.Context(), out); err == nil {
			t.Errorf("%+v was sent", out)
		}
	}
	var b bytes.Buffer
	for _, m := range n.Messages("!a") {
		b.WriteString(m.Author + m.Text)
	}
	if b.String() != "@anahi" {
		t.Errorf("the room holds %s", b.String())
	}
}
