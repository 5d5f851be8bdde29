package locales

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"starling/locales/markup"
)

// Reader is who reads: the language, the zone and the present moment of one room.
type Reader struct {
	Lang string
	Zone *time.Location // nil is UTC
	Now  time.Time      // dates of its year are said without the year
}

// Render writes a message, or one of this package's values, in the reader's language, as text in the Markdown subset of
// package markup. What people typed stands in it escaped and isolated. An entry or a variable that is missing is an error.
func (b *Bundle) Render(r Reader, msg any) (string, error) {
	if b.localizers[r.Lang] == nil {
		return "", fmt.Errorf("render: no language %q", r.Lang)
	}
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	v := reflect.ValueOf(msg)
	if !v.IsValid() {
		return "", errors.New("render: no message")
	}
	x, err := b.convert(r, v, 0)
	if err != nil {
		return "", fmt.Errorf("render: %w", err)
	}
	text, ok := x.(string)
	if !ok {
		return "", fmt.Errorf("render: %T is no message", msg)
	}
	return text, nil
}

// message renders a struct with its entry.
func (b *Bundle) message(r Reader, v reflect.Value, depth int) (string, error) {
	key, ok := b.reg.keys[v.Type()]
	if !ok {
		return "", fmt.Errorf("%v is not a registered message", v.Type())
	}
	data := make(map[string]any, v.NumField())
	var count *int
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		x, err := b.convert(r, v.Field(i), depth+1)
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", key, name, err)
		}
		data[name] = x
		if n, ok := x.(int); ok && name == "Count" {
			count = &n
		}
	}
	return b.localize(r.Lang, key, data, count)
}

// convert turns a field into what a template sees: string, int, bool or []string.
func (b *Bundle) convert(r Reader, v reflect.Value, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	if isValue(v.Type()) {
		return b.value(r, v.Interface())
	}
	switch v.Kind() {
	case reflect.String:
		return typed(v.String()), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return int(v.Int()), nil
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return "", nil
		}
		return b.convert(r, v.Elem(), depth+1)
	case reflect.Struct:
		return b.message(r, v, depth+1)
	case reflect.Slice:
		items := make([]string, 0, v.Len())
		for i := range v.Len() {
			x, err := b.convert(r, v.Index(i), depth+1)
			if err != nil {
				return nil, err
			}
			switch x := x.(type) {
			case string:
				items = append(items, x)
			case int:
				items = append(items, strconv.Itoa(x))
			default:
				return nil, fmt.Errorf("a list cannot hold a %T", x)
			}
		}
		return items, nil
	}
	return nil, fmt.Errorf("a message cannot hold a %v", v.Type())
}

// value renders one of this package's own types.
func (b *Bundle) value(r Reader, x any) (string, error) {
	switch x := x.(type) {
	case Safe:
		return string(x), nil
	case Code:
		return code(string(x)), nil
	case Term:
		if x == "" {
			return "", nil
		}
		return b.localize(r.Lang, string(x), nil, nil)
	case Lang:
		if l, ok := language(string(x)); ok {
			return l.Name, nil
		}
		return typed(string(x)), nil
	case Zone:
		if x == "" {
			return "", nil
		}
		if _, err := b.location(r, string(x)); err != nil {
			return typed(string(x)), nil
		}
		return b.City(r.Lang, string(x)), nil
	case Span:
		return b.span(r, time.Duration(x))
	case Time:
		return b.time(r, x)
	case Clock:
		return b.clock(r, x)
	case Day:
		return b.day(r, x)
	}
	return "", fmt.Errorf("unknown value %T", x)
}

// typed makes text that people typed harmless: it cannot format, link, mention or turn around what stands beside it.
func typed(s string) string {
	if s = markup.Clean(s); s == "" {
		return ""
	}
	return markup.Isolate(markup.Escape(s))
}

// code sets a code off from left to right.
func code(s string) string {
	if s = markup.Clean(s); s == "" {
		return ""
	}
	return markup.IsolateLTR(markup.Escape(s))
}
