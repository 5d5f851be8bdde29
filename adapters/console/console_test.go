package console

import (
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"starling/adapters/rig"
	"starling/bot"
	"starling/locales"
)

// still is the console's rooms without a bot: what "the bot" says in them is put there.
func still(t *testing.T, lang string) (model, *rig.Network) {
	t.Helper()
	texts, err := locales.Load(locales.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	n := rig.NewNetwork("console", rig.LikeMatrix(), bot.WallClock{}, nil)
	rooms := demos(lang)
	for _, d := range rooms {
		if err := n.Create(rig.Room{ID: d.id, Name: d.name, Members: d.people}); err != nil {
			t.Fatal(err)
		}
	}
	return newModel(n, texts, lang, rooms), n
}

// botSays posts something of the bot in a room and gives its id.
func botSays(t *testing.T, n *rig.Network, id, room, text, to string) string {
	t.Helper()
	sent, err := n.Send(t.Context(), bot.Outgoing{ID: id, Room: room, Kind: bot.OutMessage, Text: text, ReplyPerson: to})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func after(m model, msgs ...tea.Msg) model {
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

func key(name string) tea.Msg {
	switch name {
	case "tab":
		return tea.KeyPressMsg{Code: tea.KeyTab}
	case "pgup":
		return tea.KeyPressMsg{Code: tea.KeyPgUp}
	case "pgdown":
		return tea.KeyPressMsg{Code: tea.KeyPgDown}
	case "enter":
		return tea.KeyPressMsg{Code: tea.KeyEnter}
	}
	return tea.KeyPressMsg{Code: rune(name[len(name)-1]), Mod: tea.ModCtrl}
}

// fits checks that the screen is what the terminal can show.
func fits(t *testing.T, m model) string {
	t.Helper()
	s := m.View().Content
	lines := strings.Split(s, "\n")
	if len(lines) > max(1, m.height) {
		t.Errorf("%dx%d: %d lines", m.width, m.height, len(lines))
	}
	for _, line := range lines {
		if w := lipgloss.Width(line); w > max(1, m.width) {
			t.Errorf("%dx%d: %d columns in %q", m.width, m.height, w, line)
		}
	}
	return s
}

func TestEveryTerminalSize(t *testing.T) {
	for _, l := range locales.Languages() {
		m, n := still(t, l.Code)
		for i, d := range m.rooms {
			id := botSays(t, n, fmt.Sprint("a", i), d.id, "🔴 **تنبيه من \u2068Barcelona\u2069** · `/تنبيه حالة A-2M8X`\n- "+strings.Repeat("x", 200)+"\n- 👩🏽‍🚒 ✋🏿 "+strings.Repeat("long words ", 40), "")
			if err := n.React(d.id, d.people[1].Person, id, "✅", true); err != nil {
				t.Fatal(err)
			}
		}
		m = after(m, tea.PasteMsg{Content: strings.Repeat("مرحبا hello 👩🏽‍🚒 ", 30)})
		for _, size := range [][2]int{{110, 34}, {80, 24}, {60, 20}, {30, 8}, {200, 60}, {34, 3}, {10, 5}, {3, 2}, {1, 1}, {0, 0}, {80, 24}} {
			m = after(m, tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			for range len(m.rooms) + 1 {
				fits(t, m)
				m = after(m, key("pgup"), key("ctrl+p"))
				fits(t, m)
				m = after(m, key("tab"))
			}
			if s := fits(t, m); size[0] >= 60 && strings.ContainsAny(s, "\u2066\u2067\u2068\u2069") {
				t.Errorf("%v: isolates show as boxes in some terminals", size)
			}
		}
	}
}

func TestAVisitorIsToldWhatToType(t *testing.T) {
	for _, l := range locales.Languages() {
		m, _ := still(t, l.Code)
		for _, size := range [][2]int{{110, 34}, {80, 24}} {
			m = after(m, tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			s := fits(t, m)
			for _, want := range []string{"1. ", "✅", "/starling", m.rooms[0].people[0].Name + " (" + m.text("moderator") + ")", m.text("hears")} {
				if l.Code == "ar" && want == "/starling" {
					want = "/ستارلينغ"
				}
				if !strings.Contains(s, want) {
					t.Errorf("%s, %v: %q is not on the first screen:\n%s", l.Code, size, want, s)
				}
			}
			leave := m.text("keys")
			if leave = leave[strings.LastIndex(leave, between)+len(between):]; !strings.Contains(s, leave) {
				t.Errorf("%s, %v: it does not say how to leave", l.Code, size)
			}
		}
		if m.rooms[0].lang != l.Code {
			t.Errorf("a visitor who speaks %s finds herself in a room that speaks %s", l.Code, m.rooms[0].lang)
		}
	}
}

func TestUnreadRoomsHaveADot(t *testing.T) {
	m, n := still(t, "en")
	m = after(m, tea.WindowSizeMsg{Width: 60, Height: 20})
	botSays(t, n, "1", m.rooms[2].id, "hello", "")
	m = after(m, moved{})
	if s := fits(t, m); strings.Count(s, "•") != 1 || strings.Contains(s, "hello") {
		t.Errorf("want one dot and not yet what was said:\n%s", s)
	}
	m = after(m, key("tab"), key("tab"))
	if s := fits(t, m); strings.Contains(s, "•") || !strings.Contains(s, "hello") {
		t.Errorf("want what was said and no dot:\n%s", s)
	}
}

func TestScrolling(t *testing.T) {
	m, n := still(t, "en")
	m = after(m, tea.WindowSizeMsg{Width: 60, Height: 12}, key("tab"))
	for i := range 40 {
		botSays(t, n, fmt.Sprint(i), m.rooms[1].id, fmt.Sprintf("message %02d", i), "")
	}
	m = after(m, moved{})
	if s := fits(t, m); !strings.Contains(s, "message 39") || !strings.Contains(s, "↑") || strings.Contains(s, "↓") {
		t.Errorf("want the end, and a hint that there is more above:\n%s", s)
	}
	for range 100 {
		m = after(m, key("pgup"))
	}
	if s := fits(t, m); !strings.Contains(s, "message 00") || strings.Contains(s, "↑") || !strings.Contains(s, "↓") {
		t.Errorf("want the beginning, and a hint that there is more below:\n%s", s)
	}
	m = after(m, key("pgdown"))
	if s := fits(t, m); strings.Contains(s, "message 00") {
		t.Error("one PgDn does not move after many PgUp too many")
	}
}

func TestWhoAnswersWhom(t *testing.T) {
	m, n := still(t, "en")
	m = after(m, tea.WindowSizeMsg{Width: 60, Height: 30}, key("tab"))
	r := m.rooms[1]
	botSays(t, n, "1", r.id, "**By when?**", r.people[0].Person)
	m = after(m, tea.PasteMsg{Content: "friday"}, key("enter"), key("ctrl+y"))
	s := fits(t, m)
	plain := strings.NewReplacer("\x1b[1m", "", "\x1b[2m", "", "\x1b[m", "", "\x1b[22m", "", "\x1b[1;36m", "").Replace(s)
	for _, want := range []string{"Starling › Ana By when?", "Ana › Starling friday", "✅"} {
		if !strings.Contains(plain, want) {
			t.Errorf("%q is missing:\n%s", want, plain)
		}
	}
	if m.input.Value() != "" {
		t.Error("what was sent is still in the line")
	}
}

func TestEscapesDoNotReachTheTerminal(t *testing.T) {
	m, n := still(t, "en")
	m = after(m, tea.WindowSizeMsg{Width: 80, Height: 24})
	if _, err := n.Say(rig.Said{Room: m.rooms[0].id, Person: m.rooms[0].people[0].Person, Text: "a\x1b]0;title\x07b\x1b[2Jc\u202ed\xff"}); err != nil {
		t.Fatal(err)
	}
	if s := fits(t, after(m, moved{})); strings.ContainsAny(s, "\x07\u202e") || strings.Contains(s, "\x1b]") || strings.Contains(s, "\x1b[2J") {
		t.Errorf("%q", s)
	}
}

func TestLeaving(t *testing.T) {
	m, _ := still(t, "en")
	for _, k := range []string{"ctrl+c", "ctrl+d"} {
		if _, cmd := m.Update(key(k)); cmd == nil || cmd() != (tea.QuitMsg{}) {
			t.Errorf("%s does not leave", k)
		}
	}
}

func TestLanguageOfTheVisitor(t *testing.T) {
	for env, want := range map[string]string{"de_DE.UTF-8": "de", "C": "en", "": "en", "ku_TR": "ku", "sv_SE": "en", "ar": "ar"} {
		t.Setenv("LC_ALL", env)
		t.Setenv("LC_MESSAGES", "")
		t.Setenv("LANG", "")
		if got := Language(); got != want {
			t.Errorf("%q: %s, want %s", env, got, want)
		}
	}
}
