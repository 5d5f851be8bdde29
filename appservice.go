package main

import (
	"fmt"

	"starling/adapters/matrix"
)

type appserviceCmd struct {
	User string `help:"The bot's address; default: [matrix] user." placeholder:"@starling:example.org"`
}

func (a appserviceCmd) Run(c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if a.User == "" {
		a.User = cfg.Matrix.User
	}
	file, written, err := matrix.WriteRegistration(cfg.State.Dir, a.User)
	if err != nil {
		return err
	}
	if written {
		fmt.Printf("The registration is in %s, readable by you alone.\n", file)
	} else {
		fmt.Printf("The registration is in %s, as before: the homeserver may know it already.\n", file)
	}
	fmt.Print(`
1. Copy it to the homeserver, readable by the homeserver's user alone, and name the copy in its configuration.
   Synapse, homeserver.yaml:
       app_service_config_files: ["/etc/matrix-synapse/starling.yaml"]
   Dendrite, dendrite.yaml:
       app_service_api:
         config_files: ["/etc/dendrite/starling.yaml"]
2. Restart the homeserver.
3. A bot that is logged in already: restart it. Else: starling matrix login, which then asks for no password.

The original stays where it is: the bot sends with the token in it. starling doctor says whether the homeserver knows it.
`)
	return nil
}
