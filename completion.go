package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c completionCmd) Run(k *kong.Kong) error {
	return map[string]func(io.Writer, *kong.Application) error{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell](os.Stdout, k.Model)
}

// word is one thing that can be typed at a place of the command line.
type word struct{ text, help string }

// place is a command, as it is typed after the program's name, and what can follow.
type place struct {
	path  string // " matrix login"; "" is the program itself
	words []word
}

// places lists all commands with what can follow each.
func places(app *kong.Application) (all []place) {
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		p := place{path: path}
		for _, child := range n.Children {
			if !child.Hidden {
				p.words = append(p.words, word{child.Name, child.Help})
			}
		}
		for _, arg := range n.Positional {
			for _, choice := range arg.EnumSlice() {
				if choice != "" {
					p.words = append(p.words, word{choice, ""})
				}
			}
		}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				p.words = append(p.words, word{"--" + f.Name, f.Help})
			}
		}
		all = append(all, p)
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child, path+" "+child.Name)
			}
		}
	}
	walk(app.Node, "")
	return all
}

// paths are the commands themselves, as patterns of a shell's case.
func paths(all []place) string {
	var quoted []string
	for _, p := range all {
		if p.path != "" {
			quoted = append(quoted, `"`+p.path+`"`)
		}
	}
	return strings.Join(quoted, "|")
}

func bashCompletion(w io.Writer, app *kong.Application) error {
	all := places(app)
	var cases strings.Builder
	for _, p := range all {
		var words []string
		for _, o := range p.words {
			words = append(words, o.text)
		}
		fmt.Fprintf(&cases, "    %q) words=%q ;;\n", p.path, strings.Join(words, " "))
	}
	_, err := fmt.Fprintf(w, `# Completion of starling for bash. Put it into /etc/bash_completion.d/, or: source <(starling completion bash)
_starling() {
  local at="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at ${COMP_WORDS[i]}" in
    %s) at="$at ${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at" in
%s  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _starling starling
`, paths(all), cases.String())
	return err
}

// single quotes a text for zsh and fish.
func single(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `'\''`).Replace(s) + "'"
}

func zshCompletion(w io.Writer, app *kong.Application) error {
	all := places(app)
	var cases strings.Builder
	for _, p := range all {
		var words []string
		for _, o := range p.words {
			words = append(words, single(o.text+":"+strings.ReplaceAll(o.help, ":", " -")))
		}
		fmt.Fprintf(&cases, "    %q) options=(%s) ;;\n", p.path, strings.Join(words, " "))
	}
	_, err := fmt.Fprintf(w, `#compdef starling
# Completion of starling for zsh: as _starling into a folder of $fpath.
_starling() {
  local at="" one
  local -a options
  for one in ${words[2,CURRENT-1]}; do
    case "$at $one" in
    %s) at="$at $one" ;;
    esac
  done
  case "$at" in
%s  esac
  _describe starling options || _files
}
if [ "$funcstack[1]" = _starling ]; then _starling "$@"; else compdef _starling starling; fi
`, paths(all), cases.String())
	return err
}

func fishCompletion(w io.Writer, app *kong.Application) error {
	all := places(app)
	var known []string
	for _, p := range all {
		if p.path != "" {
			known = append(known, single(p.path))
		}
	}
	fmt.Fprintf(w, `# Completion of starling for fish: into ~/.config/fish/completions/starling.fish
function __starling_at
    set -l at ""
    for one in (commandline -opc)[2..-1]
        if contains -- "$at $one" %s
            set at "$at $one"
        end
    end
    test "$at" = "$argv[1]"
end
`, strings.Join(known, " "))
	for _, p := range all {
		for _, o := range p.words {
			kind := "-f -a " + single(o.text)
			if name, ok := strings.CutPrefix(o.text, "--"); ok {
				kind = "-l " + single(name)
			}
			if _, err := fmt.Fprintf(w, "complete -c starling -n %s %s -d %s\n", single(`__starling_at "`+p.path+`"`), kind, single(o.help)); err != nil {
				return err
			}
		}
	}
	return nil
}
