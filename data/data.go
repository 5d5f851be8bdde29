// Package data is the content that ships with the bot: the shared principles and lists of words. It is embedded in the
// program; a folder of the same shape can replace it file by file.
package data

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

//go:embed */*.toml
var embedded embed.FS

// Open returns the shipped files. Where the folder dir has a file of the same path, that one takes its place; what it has
// beyond them is added. An empty dir means the shipped files alone. A symbolic link out of dir is not followed.
func Open(dir string) (fs.FS, error) {
	if dir == "" {
		return embedded, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	return overlay{over: root.FS(), base: embedded}, nil
}

// overlay shows the files of over in front of those of base.
type overlay struct{ over, base fs.FS }

func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.over.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o.base.Open(name)
	}
	return f, err
}

// ReadDir implements [fs.ReadDirFS]: the entries of both, in the order of their names.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.over, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	base, baseErr := fs.ReadDir(o.base, name)
	if err != nil && baseErr != nil {
		return nil, baseErr
	}
	for _, e := range base {
		if !slices.ContainsFunc(entries, func(have fs.DirEntry) bool { return have.Name() == e.Name() }) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// maxFile bounds one file, in octets.
const maxFile = 1 << 20

// decode reads one TOML file into v. A key that v does not have is an error, named with its row.
func decode(fsys fs.FS, name string, v any) error {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s: %d octets, at most %d are read", name, info.Size(), maxFile)
	}
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	err = toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(v)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("%s:%d: unknown key %v", name, row, unknown.Errors[0].Key())
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		row, _ := wrong.Position()
		return fmt.Errorf("%s:%d: %w", name, row, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ClientNames returns the words that Matrix clients take for commands of their own when they follow a slash, in lower
// case, each with the clients that do.
func ClientNames(fsys fs.FS) (map[string][]string, error) {
	var file struct {
		Names map[string][]string `toml:"names"`
	}
	if err := decode(fsys, "names/clients.toml", &file); err != nil {
		return nil, err
	}
	return file.Names, nil
}
