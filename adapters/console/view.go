package console

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"starling/adapters/rig"
	"starling/locales"
	"starling/locales/markup"
)

const (
	narrowest = 34  // columns of a room; what does not fit side by side is reached with Tab
	reads     = 200 // messages of a room that are drawn
)

var (
	faint   = lipgloss.NewStyle().Faint(true)
	strong  = lipgloss.NewStyle().Bold(true)
	focused = lipgloss.NewStyle().Bold(true).Reverse(true).Padding(0, 1)
	tab     = lipgloss.NewStyle().Padding(0, 1)
	ours    = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("6"))
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
	began         bool  // somebody has typed something: the introduction gives way
	problem       string
	width, height int
	input         textinput.Model
}

func newModel(network *rig.Network, texts *locales.Bundle, lang string) model {
	in := textinput.New()
	in.Prompt = ""
	in.CharLimit = 5000
	in.Focus()
	rooms := demos()
	return model{network: network, texts: texts, lang: lang, rooms: rooms, speaker: make([]int, len(rooms)), seen: make([]int, len(rooms)), input: in, width: 80, height: 24}
}

func (m model) Init() tea.Cmd { return textinput.Blink }

func (m model) text(key string) string { return m.texts.Text(m.lang, "console.text."+key) }

func (m model) person() rig.Member { return m.rooms[m.at].people[m.speaker[m.at]] }

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.scroll = 0
		return m, nil
	case moved:
		return m, nil
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	return m, cmd
}

func (m model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
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
		m.scroll += m.height / 2
		return m, nil
	case "pgdown":
		m.scroll = max(0, m.scroll-m.height/2)
		return m, nil
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

// say sends what was typed: an answer goes to the bot's last message to that person, as a reply.
func (m model) say() model {
	text := strings.TrimSpace(m.input.Value())
	if text == "" {
		return m
	}
	room, person := m.rooms[m.at].id, m.person()
	said := rig.Said{Room: room, Person: person.Person, Text: text}
	if last := m.last(func(o rig.Message) bool { return o.To == person.Person }); !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "!") {
		said.ReplyTo = last
	}
	m.problem, m.began, m.scroll = "", true, 0
	if _, err := m.network.Say(said); err != nil {
		m.problem = err.Error()
		return m
	}
	m.input.Reset()
	return m
}

// react puts a reaction on the bot's last message in the room.
func (m model) react(emoji string) model {
	target := m.last(func(rig.Message) bool { return true })
	if target == "" {
		return m
	}
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

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "Starling"
	return v
}

func (m model) screen() string {
	width, height := max(m.width, 20), max(m.height, 8)
	head := m.tabs(width)
	foot := m.foot(width)
	body := max(1, height-lipgloss.Height(head)-lipgloss.Height(foot))
	fit := min(len(m.rooms), max(1, width/narrowest))
	first := min(max(0, m.at-fit/2), len(m.rooms)-fit)
	var columns []string
	for i := first; i < first+fit; i++ {
		w := width / fit
		if i == first+fit-1 {
			w = width - (fit-1)*w
		}
		columns = append(columns, m.column(i, w, body))
		m.seen[i] = len(m.network.Messages(m.rooms[i].id))
	}
	return head + "\n" + lipgloss.JoinHorizontal(lipgloss.Top, columns...) + "\n" + foot
}

// tabs names all rooms; a dot marks those with something unread.
func (m model) tabs(width int) string {
	var all []string
	for i, r := range m.rooms {
		name := r.name
		if len(m.network.Messages(r.id)) > m.seen[i] {
			name += " •"
		}
		if i == m.at {
			all = append(all, focused.Render(name))
		} else {
			all = append(all, tab.Render(name))
		}
	}
	return lipgloss.NewStyle().MaxWidth(width).Render(strings.Join(all, ""))
}

// column draws the end of one room's conversation.
func (m model) column(i, width, height int) string {
	inner := width - 2
	style := lipgloss.NewStyle().Width(inner)
	var lines []string
	add := func(s string) { lines = append(lines, strings.Split(style.Render(s), "\n")...) }
	r := m.rooms[i]
	if l, ok := locales.LanguageNamed(r.lang); ok {
		add(faint.Render(l.Name))
	}
	all := m.network.Messages(r.id)
	if i == m.at && !m.began {
		add(m.text("intro"))
	}
	if len(all) > reads {
		all = all[len(all)-reads:]
	}
	for _, o := range all {
		lines = append(lines, "")
		who := strong.Render(m.name(r, o.Author))
		if o.Author == rig.Bot {
			who = ours.Render("starling")
			add(who + " " + markup.ANSI(markup.Parse(o.Text)))
		} else {
			add(who + " " + markup.ANSI(markup.Parse(markup.Escape(markup.Clean(o.Text)))))
		}
		if marks := m.network.Reactions(o.ID); len(marks) > 0 {
			add(faint.Render("  " + strings.Join(marks, " ")))
		}
	}
	end := len(lines)
	if i == m.at {
		end = max(min(height, len(lines)), len(lines)-m.scroll)
	}
	lines = lines[max(0, end-height):end]
	border := lipgloss.NewStyle().Width(width).Height(height).MaxHeight(height).PaddingLeft(1)
	return border.Render(strings.Join(lines, "\n"))
}

func (m model) name(r demo, address string) string {
	for _, p := range r.people {
		if p.Person == address {
			return p.Name
		}
	}
	return address
}

// foot shows who speaks, what is typed, and the keys.
func (m model) foot(width int) string {
	p := m.person()
	who := p.Name
	if p.Moderator {
		who += " (" + m.text("moderator") + ")"
	}
	prompt := strong.Render(who + " › ")
	m.input.SetWidth(max(4, width-lipgloss.Width(prompt)-2))
	keys := m.text("keys")
	if m.problem != "" {
		keys = m.problem
	}
	one := lipgloss.NewStyle().MaxWidth(width)
	return one.Render(faint.Render(strings.Repeat("─", width))) + "\n" + one.Render(prompt+m.input.View()) + "\n" + faint.Width(width).Render(keys)
}
