package cli

import (
	"context"
	"errors"

	"github.com/handstamp/handstamp"
	"github.com/spf13/cobra"
)

// labSession is what the suite starts for our library: a program that makes one tool call over the
// library's transport.
type labSession struct {
	*app
	login loginOptions

	exchange string // file with a caller's token, which no other command takes
	issuer   string // of the server that it goes to
}

func (a *app) newLabSession() *cobra.Command {
	s := &labSession{app: a}
	cmd := hidden("session <url>", 1, "a URL", s.run)
	s.login.bind(cmd)
	cmd.Flags().StringVar(&s.exchange, "exchange", "", "file with the token of the caller")
	cmd.Flags().StringVar(&s.issuer, "issuer", "", "authorization server that it goes to")
	return cmd
}

func (s *labSession) run(ctx context.Context, args []string) error {
	t, c, err := s.sessionClient(args[0], &s.login)
	if err != nil {
		return err
	}
	if s.exchange != "" {
		c.Grant = handstamp.TokenExchange{SubjectToken: handstamp.AssertionFromFile(s.exchange)}
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: s.issuer}
	}
	text, err := callEcho(ctx, c, t.url, "hello")
	if err == nil && text != "hello" {
		err = errors.New("the tool returned another text")
	}
	return err
}
