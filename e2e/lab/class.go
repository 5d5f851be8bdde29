package lab

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

func readFromZip(file, name string) ([]byte, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Sizes of what stands in a class file's constant pool, without the tag (JVMS 4.4).
var constantSizes = map[byte]int{3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}

const (
	utf8Constant = 1
	prefixLength = 8   // what names a constant that is too long to be written here …
	longConstant = 200 // … which are those above this
)

// replaceConstants puts other texts in the place of a Java class's constants, each named by its text or, the very long ones,
// by its beginning. One that is not found is an error.
func replaceConstants(class []byte, by map[string]string) ([]byte, error) {
	if len(class) < 10 {
		return nil, errors.New("no class file")
	}
	const header = 10 // magic, versions, number of constants
	out, rest := class[:header:header], class[header:]
	found := map[string]bool{}
	for n := int(binary.BigEndian.Uint16(class[header-2:])) - 1; n > 0; n-- {
		tag := rest[0]
		if tag != utf8Constant {
			size, ok := constantSizes[tag]
			if !ok || len(rest) <= size {
				return nil, fmt.Errorf("unknown constant %d in a class file", tag)
			}
			out, rest = append(out, rest[:1+size]...), rest[1+size:]
			if tag == 5 || tag == 6 { // long and double count twice
				n--
			}
			continue
		}
		end := 3 + int(binary.BigEndian.Uint16(rest[1:]))
		text := string(rest[3:end])
		rest = rest[end:]
		key := text
		if len(text) > longConstant {
			key = text[:prefixLength]
		}
		if other, ok := by[key]; ok {
			found[key], text = true, other
		}
		out = binary.BigEndian.AppendUint16(append(out, utf8Constant), uint16(len(text)))
		out = append(out, text...)
	}
	if len(found) != len(by) {
		return nil, fmt.Errorf("of %d constants %d were found", len(by), len(found))
	}
	return append(out, rest...), nil
}
