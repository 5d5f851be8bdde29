package signal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// files is the folder in which signal-cli keeps, in the clear and for ever, what comes attached: photos that are to be seen once, too. The
// bot needs none of it but long texts, for a moment, and a group's timer caps the life of all that came from it. So of its own daemon it
// deletes each file once the message was taken, and at the start what is left.
func (d *daemon) files() string {
	data := d.cfg.Data
	if data == "" { // signal-cli's own choice
		home := os.Getenv("XDG_DATA_HOME")
		if home == "" {
			home = filepath.Join(os.Getenv("HOME"), ".local", "share")
		}
		data = filepath.Join(home, "signal-cli")
	}
	return filepath.Join(data, "attachments")
}

// sweep deletes all that lies there, while no daemon runs.
func (d *daemon) sweep() {
	if !d.alone() {
		return // somebody else's photos lie there, too
	}
	left, err := os.ReadDir(d.files())
	d.undeleted(err)
	for _, f := range left {
		d.undeleted(os.RemoveAll(filepath.Join(d.files(), f.Name())))
	}
}

// alone is whether signal-cli's folder is the bot's account's only: all accounts there have one folder for what comes attached.
func (d *daemon) alone() bool {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(d.files()), "data", "accounts.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var list struct{ Accounts []who }
	others := func(w who) bool { return w.Number != d.cfg.Account }
	return err == nil && json.Unmarshal(data, &list) == nil && !slices.ContainsFunc(list.Accounts, others)
}

// forget deletes what came attached to one message, of whatever kind.
func (d *daemon) forget(told json.RawMessage) {
	if !bytes.Contains(told, []byte(`"contentType"`)) {
		return
	}
	var of struct {
		Account string
		Result  struct{ Account string }
	}
	var all any
	if json.Unmarshal(told, &all) != nil || json.Unmarshal(told, &of) != nil {
		return
	}
	if account := cmp.Or(of.Result.Account, of.Account); account != "" && account != d.cfg.Account {
		return // of another account of the same signal-cli
	}
	folder, err := os.OpenRoot(d.files()) // names are not ours: none leads out of it
	if err != nil {
		d.undeleted(err)
		return
	}
	defer folder.Close()
	for _, name := range attachedIn(all, nil) {
		d.undeleted(folder.Remove(name))
		d.undeleted(folder.Remove(name + ".preview"))
	}
}

// attachedIn adds the files that stand anywhere in what signal-cli tells: in messages, quotes, previews, contacts, stories.
func attachedIn(told any, names []string) []string {
	switch told := told.(type) {
	case []any:
		for _, one := range told {
			names = attachedIn(one, names)
		}
	case map[string]any:
		if id, ok := told["id"].(string); ok && told["contentType"] != nil {
			names = append(names, id)
		}
		for _, one := range told {
			names = attachedIn(one, names)
		}
	}
	return names
}

func (d *daemon) undeleted(err error) {
	var at *fs.PathError // it would name the file
	if errors.As(err, &at) {
		err = at.Err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.cfg.Log.Warn().Err(err).Msg("What came attached cannot be deleted from signal-cli's folder")
	}
}
