package locales

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"
)

// maxDepth is how deep messages may be nested; a message that holds itself ends there.
const maxDepth = 16

var errDepth = errors.New("message nested too deeply")

// Registry knows the message types by their keys. The key of a type is the last element of its package's path and its
// name in snake case: needs.SavedHere is "needs.saved_here". Fill it at start-up; afterwards it is safe for concurrent use.
type Registry struct {
	types map[string]reflect.Type
	keys  map[reflect.Type]string
}

// NewRegistry knows only the value types of this package.
func NewRegistry() *Registry {
	return &Registry{types: map[string]reflect.Type{}, keys: map[reflect.Type]string{}}
}

// values are this package's own types; they can stand in a field of type any.
var values = []reflect.Type{
	reflect.TypeFor[Safe](), reflect.TypeFor[Code](), reflect.TypeFor[Term](), reflect.TypeFor[Lang](), reflect.TypeFor[Zone](),
	reflect.TypeFor[Span](), reflect.TypeFor[Time](), reflect.TypeFor[Clock](), reflect.TypeFor[Day](),
}

var timeType = reflect.TypeFor[time.Time]()

func isValue(t reflect.Type) bool { return slices.Contains(values, t) }

// Add makes message types known, together with the message types of their fields. It panics where a type cannot be a
// message, or where two types have the same key: both are mistakes in the program.
func (r *Registry) Add(msgs ...any) {
	for _, m := range msgs {
		t := reflect.TypeOf(m)
		if t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == nil || t.Kind() != reflect.Struct || t.Name() == "" || isValue(t) || t == timeType {
			panic(fmt.Sprintf("locales: %T cannot be a message: want a named struct", m))
		}
		r.add(t)
	}
}

func (r *Registry) add(t reflect.Type) {
	key := keyOf(t)
	switch old, ok := r.types[key]; {
	case ok && old == t:
		return
	case ok:
		panic(fmt.Sprintf("locales: %v and %v have the same key %s", old, t, key))
	}
	r.types[key], r.keys[t] = t, key
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Anonymous {
			panic(fmt.Sprintf("locales: field %v.%s is embedded or not exported", t, f.Name))
		}
		if err := r.addField(f.Type); err != nil {
			panic(fmt.Sprintf("locales: field %v.%s: %v", t, f.Name, err))
		}
	}
}

func (r *Registry) addField(t reflect.Type) error {
	if isValue(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Interface, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32:
		return nil
	case reflect.Int64:
		if t == reflect.TypeFor[time.Duration]() {
			return errors.New("use Span")
		}
		return nil
	case reflect.Pointer, reflect.Slice:
		return r.addField(t.Elem())
	case reflect.Struct:
		if t == timeType {
			return errors.New("use Time, Clock or Day")
		}
		if t.Name() != "" {
			r.add(t)
			return nil
		}
	}
	return fmt.Errorf("a message cannot hold a %v", t)
}

// keyOf names a type: the last element of its package's path and its name in snake case.
func keyOf(t reflect.Type) string {
	return path.Base(t.PkgPath()) + "." + snake(t.Name())
}

func snake(name string) string {
	var b strings.Builder
	rs := []rune(name)
	for i, c := range rs {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// Keys lists the keys of all message types, sorted.
func (r *Registry) Keys() []string {
	keys := make([]string, 0, len(r.types))
	for k := range r.types {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Type is the type of a key, nil if there is none.
func (r *Registry) Type(key string) reflect.Type { return r.types[key] }

// Key is the key of a message's type, "" if it was not added.
func (r *Registry) Key(msg any) string {
	t := reflect.TypeOf(msg)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return r.keys[t]
}

// typeTag names the type of a value that stands in a field of type any; valueTag holds it when it is no struct.
const (
	typeTag  = "$"
	valueTag = "v"
)

// Encode writes a message as JSON, by its Go field names. What stands in fields of type any keeps its type.
func (r *Registry) Encode(msg any) (key string, data []byte, err error) {
	v := reflect.ValueOf(msg)
	for v.IsValid() && v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() {
		return "", nil, errors.New("encode: no message")
	}
	key, ok := r.keys[v.Type()]
	if !ok {
		return "", nil, fmt.Errorf("encode: %v is not a registered message", v.Type())
	}
	tree, err := r.tree(v, 0)
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", key, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", key, err)
	}
	return key, bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// tree turns a value into what encoding/json writes.
func (r *Registry) tree(v reflect.Value, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil, nil
		}
		return r.tagged(v.Elem(), depth+1)
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return r.tree(v.Elem(), depth+1)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			var err error
			if out[i], err = r.tree(v.Index(i), depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case reflect.Struct:
		if v.Type() == timeType {
			return v.Interface(), nil
		}
		out := make(map[string]any, v.NumField())
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				continue
			}
			x, err := r.tree(v.Field(i), depth+1)
			if err != nil {
				return nil, err
			}
			out[v.Type().Field(i).Name] = x
		}
		return out, nil
	}
	return v.Interface(), nil
}

// tagged is tree for a value whose type its place does not tell.
func (r *Registry) tagged(v reflect.Value, depth int) (any, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	t := v.Type()
	name := r.keys[t]
	if isValue(t) {
		name = keyOf(t)
	}
	switch {
	case name != "":
	case t == reflect.TypeFor[string](), t == reflect.TypeFor[bool](), t == reflect.TypeFor[int]():
		return v.Interface(), nil
	default:
		return nil, fmt.Errorf("%v is not a registered message", t)
	}
	x, err := r.tree(v, depth)
	if err != nil {
		return nil, err
	}
	m, ok := x.(map[string]any)
	if !ok {
		m = map[string]any{valueTag: x}
	}
	m[typeTag] = name
	return m, nil
}

// Decode reads what Encode wrote, now or in an older release: fields that are gone are ignored, new ones are zero.
// The message comes as a struct, not as a pointer.
func (r *Registry) Decode(key string, data []byte) (any, error) {
	t, ok := r.types[key]
	if !ok {
		return nil, fmt.Errorf("decode: no message type %q", key)
	}
	v := reflect.New(t).Elem()
	if err := r.fill(v, data, 0); err != nil {
		return nil, fmt.Errorf("decode %s: %w", key, err)
	}
	return v.Interface(), nil
}

func (r *Registry) fill(v reflect.Value, data []byte, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil
	}
	switch v.Kind() {
	case reflect.Interface:
		x, err := r.untagged(data, depth+1)
		if err != nil || x == nil {
			return err
		}
		if !reflect.TypeOf(x).AssignableTo(v.Type()) {
			return fmt.Errorf("a %T cannot stand for a %v", x, v.Type())
		}
		v.Set(reflect.ValueOf(x))
		return nil
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return r.fill(v.Elem(), data, depth+1)
	case reflect.Slice:
		var raw []json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(raw), len(raw)))
		for i, d := range raw {
			if err := r.fill(v.Index(i), d, depth+1); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct:
		if v.Type() == timeType {
			return json.Unmarshal(data, v.Addr().Interface())
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return err
		}
		for i := range v.NumField() {
			d, ok := raw[v.Type().Field(i).Name]
			if !ok {
				continue
			}
			if err := r.fill(v.Field(i), d, depth+1); err != nil {
				return fmt.Errorf("%s: %w", v.Type().Field(i).Name, err)
			}
		}
		return nil
	}
	return json.Unmarshal(data, v.Addr().Interface())
}

func (r *Registry) untagged(data []byte, depth int) (any, error) {
	switch data = bytes.TrimSpace(data); data[0] {
	case '"':
		var s string
		err := json.Unmarshal(data, &s)
		return s, err
	case 't', 'f':
		var b bool
		err := json.Unmarshal(data, &b)
		return b, err
	case '{':
	default:
		var n int
		err := json.Unmarshal(data, &n)
		return n, err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	var name string
	if err := json.Unmarshal(raw[typeTag], &name); err != nil {
		return nil, errors.New("value without a type")
	}
	t := r.types[name]
	for _, vt := range values {
		if name == keyOf(vt) {
			t = vt
		}
	}
	if t == nil {
		return nil, fmt.Errorf("no message type %q", name)
	}
	if inner, ok := raw[valueTag]; ok && t.Kind() != reflect.Struct {
		data = inner
	}
	v := reflect.New(t).Elem()
	if err := r.fill(v, data, depth); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v.Interface(), nil
}
