package console

import (
	"strings"

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
	focused = lipgloss.NewStyle().Bold(true).Reverse(true)
	ours    = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("6"))

	// Terminals that turn right-to-left text do so by themselves, the others show isolates and marks as boxes.
	bare = strings.NewReplacer("\u2066", "", "\u2067", "", "\u2068", "", "\u2069", "", "\u200e", "", "\u200f", "", "\u061c", "")
)

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "Starling"
	return v
}

// screen is exactly as many lines as the terminal has, none wider than it is.
func (m model) screen() string {
	foot := m.foot()
	lines := append([]string{m.tabs()}, m.body()...)
	if len(foot) >= m.height { // what one types comes first
		lines = nil
	}
	lines = append(lines, foot...)
	lines = lines[max(0, len(lines)-max(1, m.height)):]
	for i := range lines {
		lines[i] = clip(lines[i], m.width)
	}
	return strings.Join(lines, "\n")
}

func clip(line string, width int) string {
	if lipgloss.Width(line) <= width {
		return line
	}
	return lipgloss.NewStyle().MaxWidth(max(1, width)).Render(line)
}

// tabs names all rooms; a dot marks those with something unread.
func (m model) tabs() string {
	var all []string
	for i, r := range m.rooms {
		name := " " + r.name + " "
		if len(m.network.Messages(r.id)) > m.seen[i] {
			name += "• "
		}
		if i == m.at {
			name = focused.Render(name)
		}
		all = append(all, name)
	}
	return strings.Join(all, "")
}

// shown are the rooms that stand side by side, the one in which one types among them.
func (m model) shown() []int {
	fit := min(len(m.rooms), max(1, m.width/narrowest))
	first := min(max(0, m.at-fit/2), len(m.rooms)-fit)
	var all []int
	for i := first; i < first+fit; i++ {
		all = append(all, i)
	}
	return all
}

// columnWidth is that of a room, with the gap beside it.
func (m model) columnWidth() int { return max(3, m.width/len(m.shown())) }

// bodyHeight is how many lines are left between the tabs and the foot.
func (m model) bodyHeight() int { return max(0, m.height-1-len(m.foot())) }

// hidden is how many lines of the room in which one types do not fit on the screen.
func (m model) hidden() int {
	return max(0, len(m.conversation(m.at, m.columnWidth()-1))-(m.bodyHeight()-1))
}

// body draws the rooms side by side.
func (m model) body() []string {
	height, width := m.bodyHeight(), m.columnWidth()
	lines := make([]string, height)
	for n, i := range m.shown() {
		for row, line := range m.column(i, width-1, height) {
			if n > 0 {
				line = " " + line
			}
			lines[row] += line
		}
	}
	return lines
}

// column draws the end of one room's conversation below a line that says which room it is: as many lines as asked for, each
// filled up to the width.
func (m model) column(i, width, height int) []string {
	if height == 0 {
		return nil
	}
	all := m.conversation(i, width)
	room := max(0, height-1)
	end := len(all)
	if i == m.at {
		end -= min(m.scroll, max(0, end-room))
	}
	start := max(0, end-room)
	more := ""
	if start > 0 {
		more += " ↑"
	}
	if end < len(all) {
		more += " ↓"
	}
	title := faint.Render(m.title(i))
	if lipgloss.Width(title)+lipgloss.Width(more) > width {
		title = clip(title, max(1, width-lipgloss.Width(more)))
	}
	lines := append([]string{title + more}, all[start:end]...)
	for len(lines) < height {
		lines = append(lines, "")
	}
	for j, line := range lines {
		line = clip(line, width)
		lines[j] = line + strings.Repeat(" ", max(0, width-lipgloss.Width(line)))
	}
	return lines
}

// title says which language a room speaks and whom it hears.
func (m model) title(i int) string {
	r := m.rooms[i]
	hears := m.text("alone")
	if len(r.follows) > 0 {
		hears = m.text("hears") + " " + strings.Join(r.follows, ", ")
	}
	if l, ok := locales.LanguageNamed(r.lang); ok {
		hears = l.Name + " · " + hears
	}
	return hears
}

// conversation is what was said in a room, in lines of a width; the first room begins with what a visitor can do.
func (m model) conversation(i, width int) []string {
	style := lipgloss.NewStyle().Width(max(1, width))
	var lines []string
	add := func(s string) { lines = append(lines, strings.Split(style.Render(s), "\n")...) }
	if i == 0 {
		add(bare.Replace(markup.ANSI(markup.Parse(m.text("intro")))))
	}
	r := m.rooms[i]
	all := m.network.Messages(r.id)
	for _, o := range all[max(0, len(all)-reads):] {
		text := markup.Parse(o.Text)
		if o.Author != rig.Bot {
			text = markup.Parse(markup.Escape(markup.Clean(o.Text)))
		}
		lines = append(lines, "")
		add(m.who(r, o) + " " + bare.Replace(markup.ANSI(text)))
		if marks := m.network.Reactions(o.ID); len(marks) > 0 {
			add("  " + strings.Join(marks, "  "))
		}
	}
	return lines
}

// who says who speaks, and to whom when it is an answer.
func (m model) who(r demo, o rig.Message) string {
	to := o.To
	if answered, ok := m.network.Message(o.ReplyTo); ok && to == "" {
		to = answered.Author
	}
	who := strong.Render(m.name(r, o.Author))
	if o.Author == rig.Bot {
		who = ours.Render(m.name(r, o.Author))
	}
	if to != "" {
		who += faint.Render(" › " + m.name(r, to))
	}
	return who
}

func (m model) name(r demo, address string) string {
	if address == rig.Bot {
		return "Starling"
	}
	for _, p := range r.people {
		if p.Person == address {
			return p.Name
		}
	}
	return address
}

// foot shows who speaks, what is typed, and the keys.
func (m model) foot() []string {
	p := m.person()
	who := p.Name
	if p.Moderator {
		who += " (" + m.text("moderator") + ")"
	}
	if m.width < 40 {
		who = p.Name
	}
	prompt := strong.Render(who + " › ")
	m.input.SetWidth(max(1, m.width-lipgloss.Width(prompt)-1))
	lines := []string{faint.Render(strings.Repeat("─", max(1, m.width))), prompt + m.input.View()}
	if m.problem != "" {
		return append(lines, m.problem)
	}
	for _, line := range m.keys() {
		lines = append(lines, faint.Render(line))
	}
	return lines
}

// keys are those that fit into one line, two where there is room; how to leave is always among them.
func (m model) keys() []string {
	if m.height < 6 {
		return nil
	}
	all := strings.Split(m.text("keys"), between)
	leave := all[len(all)-1]
	if m.height < 20 {
		return []string{join(all[:len(all)-1], m.width-lipgloss.Width(between+leave), leave)}
	}
	first := join(all, m.width, "")
	if rest := strings.TrimPrefix(strings.TrimPrefix(strings.Join(all, between), first), between); rest != "" {
		all = strings.Split(rest, between)
		return []string{first, join(all[:len(all)-1], m.width-lipgloss.Width(between+leave), leave)}
	}
	return []string{first}
}

const between = " · "

// join puts together as many as fit into a width, and last after them.
func join(all []string, width int, last string) string {
	line := ""
	for _, k := range all {
		if line != "" {
			k = between + k
		}
		if lipgloss.Width(line+k) > width {
			break
		}
		line += k
	}
	if line != "" && last != "" {
		line += between
	}
	return line + last
}
