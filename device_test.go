package handstamp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// deviceSession returns a session without a browser: what the user does with the code is up to act.
func deviceSession(w *testenv.Env, act func(d handstamp.DeviceAuthorization)) *handstamp.Client {
	c := w.Session()
	c.Grant = handstamp.DeviceCode{}
	c.Prompt = handstamp.Prompt{ShowCode: func(_ context.Context, d handstamp.DeviceAuthorization) {
		w.Tabs.Add(1)
		act(d)
	}}
	return c
}

// approve enters the code at once.
func approve(t *testing.T, w *testenv.Env) func(handstamp.DeviceAuthorization) {
	return func(d handstamp.DeviceAuthorization) {
		if err := w.Lab.ApproveDevice(d.UserCode); err != nil {
			t.Error(err)
		}
	}
}

func deviceHabits(d lab.Device) lab.Habits {
	return lab.Habits{Grants: []string{lab.GrantDeviceCode}, Device: d}
}

// A login on another device is a login like any other: later sessions, which have no code to show,
// refresh it.
func TestDeviceLogin(t *testing.T) {
	for name, device := range map[string]lab.Device{
		"plain":                    {},
		"with an interval":         {Interval: 2, EnforceInterval: true},
		"slowed down":              {Interval: 1, SlowDown: 1, EnforceInterval: true},
		"without the complete URI": {OmitComplete: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := testenv.NewInMemory(t, deviceHabits(device))
				c := deviceSession(w, func(d handstamp.DeviceAuthorization) {
					if (d.VerificationURIComplete == "") != device.OmitComplete || d.VerificationURI == "" || time.Until(d.ExpiresAt) <= 0 {
						t.Errorf("the user is shown %+v", d)
					}
					time.AfterFunc(12*time.Second, func() { approve(t, w)(d) })
				})
				w.MustLogin(c)
				w.MustCall(w.Session())
				w.Expire()
				w.MustCall(w.Session())
				w.WantTabs(1)
				if audit := w.Lab.Audit(); audit.EarlyPolls != 0 {
					t.Errorf("%d polls before the interval was over", audit.EarlyPolls)
				}
			})
		})
	}
}

// How a login on another device fails is one sentence and an error of its kind.
func TestDeviceLoginFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		habits lab.Habits
		act    func(w *testenv.Env, d handstamp.DeviceAuthorization)
		want   error
	}{
		{"the code runs out", deviceHabits(lab.Device{Lifetime: 30}), func(*testenv.Env, handstamp.DeviceAuthorization) {}, handstamp.ErrTimeout},
		{"the user denies it", deviceHabits(lab.Device{}), func(w *testenv.Env, d handstamp.DeviceAuthorization) {
			_ = w.Lab.DenyDevice(d.UserCode)
		}, handstamp.ErrDenied},
		{"the server has none", lab.Habits{}, func(*testenv.Env, handstamp.DeviceAuthorization) {}, handstamp.ErrInvalidConfig},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := testenv.NewInMemory(t, test.habits)
				c := deviceSession(w, func(d handstamp.DeviceAuthorization) { test.act(w, d) })
				if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}

// A poll whose response was lost, or that a gateway responded to, says nothing about the code.
func TestDeviceLoginAcrossTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := testenv.NewInMemory(t, deviceHabits(lab.Device{}))
		w.Lab.SetFault("token:device", lab.Fault{Kind: lab.FaultStatus, Times: 1},
			lab.Fault{Kind: lab.FaultCutBefore, Times: 1}, lab.Fault{Kind: lab.FaultHTML, Times: 1})
		w.MustLogin(deviceSession(w, approve(t, w)))
		w.WantTabs(1)
	})
}

// Without a way to show the code nothing is sent.
func TestDeviceLoginWithoutPrompt(t *testing.T) {
	w := testenv.New(t, deviceHabits(lab.Device{}))
	c := w.Session()
	c.Grant = handstamp.DeviceCode{}
	if err := w.Login(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("%v, want ErrInvalidConfig", err)
	}
	w.WantCounts(map[string]int{"device_authorization": 0, "register": 0})
}
