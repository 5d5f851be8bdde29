// Command put merges entries into active.<lang>.toml: it checks them against English, notes which English they were
// translated from, and writes the file sorted. Several may run at the same time.
//
//	go run ./locales/put -lang es FILE.toml
//	go run ./locales/put -delete needs.saved
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nicksnyder/go-i18n/v2/i18n"

	"starling/locales"
)

func main() {
	lang := flag.String("lang", "", "language of the entries, e.g. es")
	dir := flag.String("dir", "locales", "folder of the active files")
	remove := flag.String("delete", "", "remove this key from all languages")
	flag.Parse()
	if err := run(*dir, *lang, *remove, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "put:", err)
		os.Exit(1)
	}
}

func run(dir, lang, remove string, args []string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if remove != "" {
		return deleteKey(dir, remove)
	}
	if l, ok := locales.LanguageNamed(lang); !ok || l.Code != lang {
		return fmt.Errorf("-lang: no language %q", lang)
	}
	var data []byte
	switch len(args) {
	case 0:
		data, err = io.ReadAll(os.Stdin)
	case 1:
		data, err = os.ReadFile(args[0])
	default:
		err = errors.New("want one file, or the entries on standard input")
	}
	if err != nil {
		return err
	}
	return put(dir, lang, data)
}

// put merges the entries of data into the active file of lang. Nothing is written when one of them is wrong.
func put(dir, lang string, data []byte) error {
	fresh, err := locales.Parse(data)
	if err != nil {
		return err
	}
	english, err := read(dir, locales.Source)
	if err != nil {
		return err
	}
	active, err := read(dir, lang)
	if err != nil {
		return err
	}
	var errs []error
	for key, m := range fresh {
		source := m
		m.Hash = ""
		if lang != locales.Source {
			if source = english[key]; source == nil {
				errs = append(errs, fmt.Errorf("%s: put the English entry first", key))
				continue
			}
			m.Description = ""
			m.Hash = locales.Hash(source)
		}
		errs = append(errs, locales.CheckEntry(lang, source, m)...)
		active[key] = m
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return write(dir, lang, active)
}

func deleteKey(dir, key string) error {
	found := false
	for _, l := range locales.Languages() {
		active, err := read(dir, l.Code)
		if err != nil {
			return err
		}
		if active[key] == nil {
			continue
		}
		found = true
		delete(active, key)
		if err := write(dir, l.Code, active); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no entry %q in any language", key)
	}
	return nil
}

func path(dir, lang string) string { return filepath.Join(dir, "active."+lang+".toml") }

func read(dir, lang string) (map[string]*i18n.Message, error) {
	data, err := os.ReadFile(path(dir, lang))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	entries, err := locales.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path(dir, lang), err)
	}
	return entries, nil
}

// write replaces the active file at once: who reads it meanwhile sees the old or the new one.
func write(dir, lang string, entries map[string]*i18n.Message) error {
	data := locales.Format(entries)
	if _, err := locales.Parse(data); err != nil {
		return fmt.Errorf("what was to be written does not read back: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".put-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path(dir, lang))
}

// lock waits until nobody else puts into dir.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%w (run it at the root of the module, or say -dir)", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", strings.TrimSuffix(dir, "/"), err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
