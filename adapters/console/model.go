package console

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"starling/adapters/rig"
	"starling/locales"
)

// moved says that the bot did something.
type moved struct{}

// model is what the screen shows. It holds positions only; what was said is read from the network.
type model struct {
	network       *rig.Network
	texts         *locales.Bundle
	lang          string
	rooms         []demo
	at            int   // the room in which one types
	speaker       []int // by room: who speaks
	seen          []int // by room: messages seen
	scroll        int   // lines up from the end, in the room in which one types
	problem       string
	width, height int
	input         textinput.Model
}

func newModel(network *rig.Network, texts *locales.Bundle, lang string, rooms []demo) model {
	in := textinput.New()
	in.Prompt = ""
	in.CharLimit = 5000 // more than the bot reads: one can see how it refuses
	in.Focus()
	return model{network: network, texts: texts, lang: lang, rooms: rooms, speaker: make([]int, len(rooms)), seen: make([]int, len(rooms)), input: in, width: 80, height: 24}
}

func (m model) Init() tea.Cmd { return textinput.Blink }

func (m model) text(key string) string { return m.texts.Text(m.lang, "console.text."+key) }

func (m model) person() rig.Member { return m.rooms[m.at].people[m.speaker[m.at]] }

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height, m.scroll = msg.Width, msg.Height, 0
	case moved:
	case tea.KeyPressMsg:
		m, cmd = m.key(msg)
	default:
		m.input, cmd = m.input.Update(msg)
	}
	for _, i := range m.shown() {
		m.seen[i] = len(m.network.Messages(m.rooms[i].id))
	}
	return m, cmd
}

func (m model) key(k tea.KeyPressMsg) (model, tea.Cmd) {
	switch k.String() {
	case "ctrl+c", "ctrl+d":
		return m, tea.Quit
	case "tab":
		return m.goTo(m.at + 1), nil
	case "shift+tab":
		return m.goTo(m.at + len(m.rooms) - 1), nil
	case "ctrl+p":
		m.speaker[m.at] = (m.speaker[m.at] + 1) % len(m.rooms[m.at].people)
		return m, nil
	case "ctrl+y":
		return m.react("✅"), nil
	case "ctrl+n":
		return m.react("❌"), nil
	case "ctrl+o":
		return m.react("✋"), nil
	case "pgup":
		return m.scrollBy(m.height / 2), nil
	case "pgdown":
		return m.scrollBy(-m.height / 2), nil
	case "up": // also what many terminals make of a wheel
		return m.scrollBy(2), nil
	case "down":
		return m.scrollBy(-2), nil
	case "enter":
		return m.say(), nil
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(k)
	return m, cmd
}

func (m model) goTo(room int) model {
	m.at, m.scroll, m.problem = room%len(m.rooms), 0, ""
	return m
}

func (m model) scrollBy(lines int) model {
	m.scroll = max(0, min(m.scroll+lines, m.hidden()))
	return m
}

// say sends what was typed: an answer goes to the bot's last message to that person, as a reply.
func (m model) say() model {
	text := strings.TrimSpace(m.input.Value())
	if text == "" {
		return m
	}
	person := m.person().Person
	said := rig.Said{Room: m.rooms[m.at].id, Person: person, Text: text}
	if !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "!") {
		said.ReplyTo = m.last(func(o rig.Message) bool { return o.To == person })
	}
	m.problem, m.scroll = "", 0
	if _, err := m.network.Say(said); err != nil {
		m.problem = err.Error()
		return m
	}
	m.input.Reset()
	return m
}

// react puts a reaction on the bot's last message in the room that offers it, else on its last.
func (m model) react(emoji string) model {
	offers := func(o rig.Message) bool {
		for _, mark := range m.network.Reactions(o.ID) {
			if strings.HasPrefix(mark, emoji) {
				return true
			}
		}
		return false
	}
	target := m.last(offers)
	if target == "" {
		target = m.last(func(rig.Message) bool { return true })
	}
	if target == "" {
		return m
	}
	m.problem = ""
	if err := m.network.React(m.rooms[m.at].id, m.person().Person, target, emoji, true); err != nil {
		m.problem = err.Error()
	}
	return m
}

// last is the bot's last message in the room that fits.
func (m model) last(fits func(rig.Message) bool) string {
	all := m.network.Messages(m.rooms[m.at].id)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Author == rig.Bot && fits(all[i]) {
			return all[i].ID
		}
	}
	return ""
}
