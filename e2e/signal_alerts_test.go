package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"starling/e2e/lab"
)

// A Signal group and an encrypted Matrix room hear each other, each in its language; a room that is not encrypted hears nothing
// of either.
func TestAlertsCrossBetweenSignalAndMatrix(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*lab.Patience)
	defer cancel()
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	signal := lab.StartSignal(t)
	phone, ana, jordi := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "jordi")
	daemon := signal.BotDaemon(t, phone)
	id, err := server.Register(ctx, "starling", "starling-password")
	if err != nil {
		t.Fatal(err)
	}
	luc := humans.Join(t, "luc", lab.Options{})
	starling, err := lab.NewStarling(ctx, t.TempDir(), lab.BotConfig{
		URL: server.URL, User: id, Password: "starling-password", Invite: []string{luc.ID}, More: daemon.Config("", ana),
	})
	if err != nil {
		t.Fatal(err)
	}
	starling.Run(t)

	barcelona := ana.CreateGroup(lab.SignalGroup{Title: "Barcelona", Members: []*lab.Phone{jordi}, Admins: []*lab.Phone{jordi}})
	ana.Invite(barcelona, phone)
	ana.Wait(lab.Hears{Group: barcelona, Contains: []string{"1 English"}})
	room := func(name string, clear bool) string {
		t.Helper()
		r := luc.CreateRoom(lab.Room{Name: name, Plain: clear, Invite: []string{starling.ID}})
		luc.Wait(lab.Want{Room: r, From: starling.ID, Contains: []string{"1 English"}})
		return r
	}
	lille, nantes := room("Lille", false), room("Nantes", true)
	asks := func(r, text string, contains ...string) {
		t.Helper()
		luc.Wait(lab.Want{Room: r, From: starling.ID, AfterID: luc.Say(r, text), Contains: contains})
	}
	tells := func(text string, contains ...string) lab.Heard {
		t.Helper()
		return ana.Wait(lab.Hears{Group: barcelona, Quotes: ana.Say(barcelona, text), Contains: contains})
	}
	tells("/room language es", "español")
	tells("/room name Barcelona", "Barcelona")
	tells("/relay open yes")
	for _, r := range []string{lille, nantes} {
		asks(r, "/room language fr")
		asks(r, "/room name "+map[string]string{lille: "Lille", nantes: "Nantes"}[r])
		asks(r, "/relay open yes")
		asks(r, "/room alerts anyone")
		asks(r, "/relay follow Barcelona", "Barcelona")
	}
	tells("/relay follow Lille", "Lille")

	mark := luc.Mark()
	asked := tells("/alerta ahora: policía en el centro social", "policía", "✅")
	jordi.React(barcelona, asked, "✅")
	heard := luc.Wait(lab.Want{Room: lille, From: starling.ID, Contains: []string{"Alerte de", "Barcelona", "policía en el centro social"}})
	if !heard.Encrypted || heard.MsgType != "m.text" {
		t.Errorf("the alert comes encrypted %v as %s", heard.Encrypted, heard.MsgType)
	}
	luc.React(lille, heard.ID, "✋")

	after := ana.Mark()
	back := luc.Say(lille, "/alerte maintenant : descente au local")
	preview := luc.Wait(lab.Want{Room: lille, From: starling.ID, AfterID: back, Contains: []string{"descente", "✅"}})
	luc.React(lille, preview.ID, "✅")
	got := ana.Wait(lab.Hears{Group: barcelona, After: after, Contains: []string{"Alerta de", "Lille", "descente au local"}})
	if len(got.Styles) == 0 || !strings.Contains(marked(got), "Lille") || !strings.HasPrefix(marked(got), "Alerta de") {
		t.Errorf("of %q is bold %q", got.Body, marked(got))
	}
	jordi.React(barcelona, got, "👀")
	starling.WaitIdle(t) // the phone may have the alert before the bot knows that it was sent
	tells("/alerta lista", "Lille")
	if st := starling.WaitIdle(t); st.Errors != 0 {
		t.Errorf("the bot stumbled: %+v", st)
	}
	for _, m := range luc.Did(nantes, starling.ID, mark) {
		if strings.Contains(m.Body, "policía") || strings.Contains(m.Body, "descente") {
			t.Errorf("a room that is not encrypted hears %q", m.Body)
		}
	}
}

// marked is what the first style of a message is put on.
func marked(h lab.Heard) string {
	units := utf16.Encode([]rune(h.Body))
	return string(utf16.Decode(units[h.Styles[0].Start : h.Styles[0].Start+h.Styles[0].Length]))
}

// friends are people who may take the bot into groups: one person may into a few a day.
func friends(t testing.TB, signal *lab.Signal, groups int) (all []*lab.Phone) {
	for i := range groups/3 + 1 {
		all = append(all, signal.Join(t, fmt.Sprint("friend", i)))
	}
	return all
}

// chapter brings the bot into a new group in which ana is.
func chapter(t testing.TB, ana, phone, by *lab.Phone, name string) (group string) {
	t.Helper()
	group = by.CreateGroup(lab.SignalGroup{Title: name, Members: []*lab.Phone{ana}, Admins: []*lab.Phone{ana}})
	by.Invite(group, phone)
	ana.Wait(lab.Hears{Group: group, Contains: []string{"1 English"}})
	tells(ana, group, "/room language en")
	tells(ana, group, "/room name "+name)
	return group
}

// tells lets somebody tell the bot something, which quotes it in its answer.
func tells(p *lab.Phone, group, text string, contains ...string) lab.Heard {
	return p.Wait(lab.Hears{Group: group, Quotes: p.Say(group, text), Contains: contains})
}

// chapters are one group where anybody may raise an alert, and others which hear it.
func chapters(t testing.TB, ana, phone *lab.Phone, friends []*lab.Phone, n int) (origin string, groups []string) {
	t.Helper()
	origin = chapter(t, ana, phone, friends[0], "Origin")
	tells(ana, origin, "/relay open yes")
	tells(ana, origin, "/room alerts anyone")
	for i := range n {
		groups = append(groups, oneMore(t, ana, phone, friends, i))
	}
	return origin, groups
}

// oneMore is the i-th of those others.
func oneMore(t testing.TB, ana, phone *lab.Phone, friends []*lab.Phone, i int) (group string) {
	t.Helper()
	group = chapter(t, ana, phone, friends[(i+1)/3], cities[i])
	tells(ana, group, "/relay follow Origin", "Origin")
	return group
}

// cities have names that nobody takes for each other's.
var cities = strings.Fields("Amed Bilbao Cairo Dublin Essen Florence Ghent Hanover Izmir Jaffa Kyoto Lille Madrid Nantes Oslo Porto Quito Rojava Seville Turin")

// alerts lists the numbers of the alerts that a phone has heard in a group, in the order in which they came, and how many of them
// said that they may be repetitions.
func alerts(t *testing.T, p *lab.Phone, group string) (numbers []int, repeats int) {
	t.Helper()
	for _, m := range p.Heard(group, 0) {
		var n int
		if _, text, ok := strings.Cut(m.Original, "alarm number "); ok && m.Kind == "message" {
			if _, err := fmt.Sscan(strings.TrimRight(strings.Fields(text)[0], "\u2069”»\""), &n); err != nil {
				t.Fatalf("%q: %v", m.Original, err)
			}
			numbers = append(numbers, n)
			if strings.Contains(m.Original, "Perhaps a repetition") {
				repeats++
			}
		}
	}
	return numbers, repeats
}

func TestManyAlertsReachManySignalGroupsInOrder(t *testing.T) {
	const followers, many = 20, 20
	t.Parallel()
	signal := lab.StartSignal(t)
	phone, ana := signal.Join(t, "starling"), signal.Join(t, "ana")
	daemon := signal.BotDaemon(t, phone)
	friends := friends(t, signal, followers+1)
	starling := daemon.StartStarling(t, "", friends...)
	origin, groups := chapters(t, ana, phone, friends, followers)
	for i := range many {
		preview := ana.Wait(lab.Hears{Group: origin, Quotes: ana.Say(origin, fmt.Sprintf("/alert now: alarm number %d", i)), Contains: []string{"✅"}})
		ana.React(origin, preview, "✅")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*lab.Patience)
	defer cancel()
	for _, g := range groups {
		if _, err := ana.Await(ctx, lab.Hears{Group: g, Contains: []string{fmt.Sprintf("alarm number %d", many-1)}}); err != nil {
			t.Fatal(err)
		}
	}
	starling.WaitIdle(t)
	want := make([]int, many)
	for i := range want {
		want[i] = i
	}
	for i, g := range groups {
		if got, _ := alerts(t, ana, g); !slices.Equal(got, want) {
			t.Errorf("group %d hears %v", i, got)
		}
	}
}
