// Package adapters lists what the networks themselves have to say to people, as package commands lists what the bot can do.
package adapters

import (
	"slices"

	"starling/adapters/matrix"
	"starling/adapters/signal"
)

// Messages lists the structs that adapters say; the key of each is <package>.<snake_case type>.
func Messages() []any {
	return slices.Concat(matrix.Messages(), signal.Messages())
}
