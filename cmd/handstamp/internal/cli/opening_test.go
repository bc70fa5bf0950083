package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The browser opens when the user presses Enter, or by itself after a while, and again with each
// further Enter, until the login has ended.
func TestEnterOpensTheBrowser(t *testing.T) {
	for name, c := range map[string]struct {
		presses []time.Duration // since the login began
		opened  []time.Duration
	}{
		"at once":         {[]time.Duration{time.Second}, []time.Duration{time.Second}},
		"by itself":       {nil, []time.Duration{openDelay}},
		"and again":       {[]time.Duration{2 * time.Second, time.Minute}, []time.Duration{2 * time.Second, time.Minute}},
		"after by itself": {[]time.Duration{time.Minute}, []time.Duration{openDelay, time.Minute}},
		"ended before":    {[]time.Duration{time.Hour}, []time.Duration{openDelay}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var opened []time.Duration
				o := newOpening(func(_ context.Context, rawURL string) error {
					opened = append(opened, time.Since(began))
					return nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				if err := o.begin(ctx, "https://as.example/authorize"); err != nil {
					t.Fatal(err)
				}
				for _, at := range c.presses {
					time.AfterFunc(at, o.press)
				}
				<-ctx.Done()
				time.Sleep(2 * time.Hour) // of the bubble
				synctest.Wait()
				if len(opened) != len(c.opened) {
					t.Fatalf("opened after %v, want %v", opened, c.opened)
				}
				for i := range opened {
					if opened[i] != c.opened[i] {
						t.Errorf("opened after %v, want %v", opened, c.opened)
					}
				}
			})
		})
	}
}
