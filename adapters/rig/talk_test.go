package rig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"starling/adapters/rig"
	"starling/bot"
	"starling/locales"
)

var update = flag.Bool("update", false, "write the transcripts that conversations give into their files")

type (
	Echoed  struct{ Text string }
	AskName struct{}
	AskMood struct{}
	Good    struct{}
	Bad     struct{}
	Summary struct{ Name, Mood string }
	Kept    struct{ Name string }
	Told    struct{ Text string }
	Heard   struct{ Count int }
	Hello   struct{}

	NoAnswer struct{}
)

// entries of the test's own messages and commands, in English; other languages have the few that a test needs.
const english = `
["bot.question"]
other = "{{.Before}}{{.Ask}}{{if .Of}} ({{.Step}}/{{.Of}}){{end}}{{range .Choices}}\n{{.}}{{end}}{{if .Review}} ✅ ❌{{end}}"
["bot.numbered"]
other = "{{.Number}} {{.Label}}"
["bot.left"]
other = "Left."
["bot.broken"]
other = "Broken."
["bot.clear_text"]
other = "Clear text."
["bot.perhaps"]
other = "{{.Message}} (perhaps again)"
["command.echo"]
other = "echo"
["command.ask"]
other = "ask"
["command.tell"]
other = "tell"
["command.break"]
other = "break"
["command.later"]
other = "later"
["rig_test.echoed"]
other = "You said {{.Text}}"
["rig_test.ask_name"]
other = "Who?"
["rig_test.ask_mood"]
other = "How?"
["rig_test.good"]
other = "good"
["rig_test.bad"]
other = "bad"
["rig_test.summary"]
other = "{{.Name}} feels {{.Mood}}."
["rig_test.kept"]
other = "Kept: **{{.Name}}**"
["rig_test.told"]
other = "News: {{.Text}}"
["rig_test.heard"]
one = "{{.Count}} room"
other = "{{.Count}} rooms"
["rig_test.hello"]
other = "Hello."
["command.translate"]
other = "translate"
["command.fetch"]
other = "fetch"
["example.translate"]
other = "/translate hello"
["example.fetch"]
other = "/fetch http://example.org/"
["rig_test.no_answer"]
other = "No answer."
["param.text"]
other = "text"
["example.echo"]
other = "/echo hello"
["example.tell"]
other = "/tell news"
["example.later"]
other = "/later news"
`

const spanish = `
["bot.question"]
other = "{{.Before}}{{.Ask}}{{if .Of}} ({{.Step}} de {{.Of}}){{end}}{{range .Choices}}\n{{.}}{{end}}{{if .Review}} ✅ ❌{{end}}"
["bot.numbered"]
other = "{{.Number}} {{.Label}}"
["command.echo"]
other = "eco"
["rig_test.echoed"]
other = "Has dicho {{.Text}}"
["rig_test.told"]
other = "Noticias: {{.Text}}"
["rig_test.hello"]
other = "Hola."
["command.ask"]
other = "preguntar"
["rig_test.ask_name"]
other = "¿Quién?"
["rig_test.ask_mood"]
other = "¿Cómo?"
["rig_test.good"]
other = "bien"
["rig_test.bad"]
other = "mal"
["rig_test.summary"]
other = "{{.Name}} se siente {{.Mood}}."
["rig_test.kept"]
other = "Guardado: **{{.Name}}**"
`

// loadTestLocales has the words and dates that ship, and of all that is said only what stands above: the player's own tests
// do not change when the bot says something better.
func loadTestLocales(reg *locales.Registry) (*locales.Bundle, error) {
	all := fstest.MapFS{}
	for _, l := range locales.Languages() {
		name := "active." + l.Code + ".toml"
		data, err := fs.ReadFile(os.DirFS("../../locales"), name)
		if err != nil {
			return nil, err
		}
		text := wordsOf(string(data))
		switch l.Code {
		case "en":
			text += english
		case "es":
			text += spanish
		}
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return locales.LoadFS(reg, all)
}

// wordsOf leaves only the entries without which nothing can be understood or listed.
func wordsOf(entries string) string {
	var b strings.Builder
	keep := false
	for line := range strings.Lines(entries) {
		if strings.HasPrefix(line, "[") {
			keep = strings.HasPrefix(line, `["word.`) || strings.HasPrefix(line, `["list.`)
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}

func textParam(optional bool) []bot.Param {
	return []bot.Param{{Name: "text", Type: bot.ParamText, Optional: optional}}
}

// testCapability can do a little of everything: answer, ask, tell other rooms, remind, break.
func testCapability() []bot.Capability {
	return []bot.Capability{{
		Name:     "test",
		Messages: []any{Echoed{}, AskName{}, AskMood{}, Good{}, Bad{}, Summary{}, Kept{}, Told{}, Heard{}, Hello{}, NoAnswer{}},
		Commands: []bot.Command{
			{Name: "echo", Params: textParam(false), Do: func(t *bot.Turn, a bot.Args) error { return t.Done(Echoed{a.Text("text")}) }},
			{Name: "ask", Where: bot.InRoom, Do: func(t *bot.Turn, _ bot.Args) error { return t.Start("test.ask", nil) }},
			{Name: "tell", Where: bot.InRoom, Chapter: true, Params: textParam(false), Do: tell},
			{Name: "later", Where: bot.InRoom, Params: textParam(false), Do: func(t *bot.Turn, a bot.Args) error {
				return t.At(t.Time.Add(time.Hour), "test.later", a.Text("text"))
			}},
			{Name: "translate", Params: textParam(false), Do: func(t *bot.Turn, a bot.Args) error {
				return t.Job("translate", "test.answer", "", map[string]string{"from": "en", "to": "es", "text": a.Text("text")}, 10*time.Minute)
			}},
			{Name: "fetch", Params: textParam(false), Do: func(t *bot.Turn, a bot.Args) error {
				return t.Job("fetch", "test.answer", "", map[string]string{"url": a.Text("text")}, 10*time.Minute)
			}},
			{Name: "break", Do: func(t *bot.Turn, _ bot.Args) error {
				if err := t.Done(Hello{}); err != nil {
					return err
				}
				panic("broken")
			}},
		},
		Dialogues: []bot.Dialogue{{
			Name: "test.ask",
			Steps: func(*bot.Turn, bot.Draft) []bot.Step {
				return []bot.Step{
					{Field: "name", Ask: AskName{}},
					{Field: "mood", Ask: AskMood{}, Optional: true, Choices: []bot.Option{{Value: "good", Label: Good{}}, {Value: "bad", Label: Bad{}}}},
				}
			},
			Review: func(_ *bot.Turn, d bot.Draft) any { return Summary{d["name"], d["mood"]} },
			Done:   func(t *bot.Turn, d bot.Draft) error { return t.Done(Kept{d["name"]}) },
		}},
		Topics: map[string]func(*bot.Turn, string, bot.Answer) error{"test.answer": answered},
		Timers: map[string]func(*bot.Turn, string) error{
			"test.later": func(t *bot.Turn, ref string) error {
				_, err := t.Say(Told{ref})
				return err
			},
		},
		Joined: func(t *bot.Turn) error { return t.Done(Hello{}) },
	}}
}

// answered says what came of a job.
func answered(t *bot.Turn, _ string, a bot.Answer) error {
	if a.Job.Failed {
		return t.Done(NoAnswer{})
	}
	var result struct {
		Text string
		Data []byte
	}
	if err := json.Unmarshal(a.Job.Result, &result); err != nil {
		return err
	}
	return t.Done(Told{result.Text + string(result.Data)})
}

func tell(t *bot.Turn, a bot.Args) error {
	rooms, _, err := t.Reach(t.Room.Chapter, "test", t.Encrypted(), t.Room.ID)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if _, err := t.Post(r.ID, Told{a.Text("text")}, bot.Rings()); err != nil {
			return err
		}
	}
	return t.Done(Heard{len(rooms)})
}

func options() rig.Options {
	return rig.Options{Capabilities: testCapability, Locales: loadTestLocales, ErrorsAllowed: true}
}

func play(t *testing.T, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return rig.PlayText(ctx, script, options())
}

// TestPlayer plays each conversation under testdata/player twice, with the capability above: the second time must give the
// same bytes.
func TestPlayer(t *testing.T) {
	files, err := filepath.Glob("testdata/player/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a, err := rig.ReadArchive(data)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var out bytes.Buffer
				o := options()
				o.Files = a.Files()
				if err := rig.Play(ctx, strings.NewReader(a.Talk), &out, o); err != nil {
					t.Error(err)
				}
				if *update && out.String() != a.Want {
					a.Want = out.String()
					if err := os.WriteFile(name, a.With(a.Want), 0o644); err != nil {
						t.Error(err)
					}
				}
				if out.String() != a.Want {
					t.Errorf("%s", diff.Diff("want", []byte(a.Want), "got", out.Bytes()))
				}
			}
		})
	}
}
