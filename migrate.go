package main

import (
	"context"
	"errors"
	"fmt"

	"starling/bot"
)

type migrateCmd struct {
	To string `arg:"" help:"The other database, in which nothing may be yet: postgres://… as [database] url has it, or sqlite for the file in the state directory."`
}

func (m migrateCmd) Run(ctx context.Context, c *cli) error {
	to := m.To
	switch {
	case to == "sqlite":
		to = ""
	case !bot.IsPostgres(to):
		return errors.New("name the other database: postgres://user@host/name, or sqlite")
	}
	return c.offline(func(e *bot.Engine) error {
		moved, err := e.MigrateTo(ctx, to)
		if err != nil {
			return err
		}
		fmt.Printf("Copied %d rows of %d tables, and read them all again: they are the same.\n", moved.Rows, moved.Tables)
		if to == "" {
			fmt.Printf("Now empty [database] url in %s. The bot does not start on the server's database any more: drop it when all is well.\n", c.Config)
		} else {
			fmt.Printf("Now set [database] url in %s to what you named here. The bot does not start on starling.db any more: delete it when all is well. starling.key stays: the server's database is sealed with it.\n", c.Config)
		}
		return nil
	})
}
