package cli

import (
	"reflect"
	"strings"
	"testing"
)

// What names a file, a variable, a command or a platform of a machine stays there, whatever it is for;
// each is named with the flags that give it elsewhere.
func TestSettingsWithoutSources(t *testing.T) {
	enterprise := func(e enterpriseSettings) authSettings {
		e.Issuer = "https://company.example"
		return authSettings{Grant: grantEnterprise, Enterprise: &e}
	}
	for name, test := range map[string]struct {
		settings, kept authSettings
		left           []leftSetting
	}{
		"nothing": {},
		"grants and DPoP": {settings: authSettings{Grant: grantClientCredentials, DPoP: "always"},
			kept: authSettings{Grant: grantClientCredentials, DPoP: "always"}},
		"a file": {settings: authSettings{Grant: grantWorkload, Workload: "file:/run/token", DPoP: "never"},
			kept: authSettings{DPoP: "never"}, left: []leftSetting{{"the token file:/run/token", "--workload SOURCE"}}},
		"a variable": {settings: authSettings{Grant: grantWorkload, Workload: "env:GITHUB_TOKEN"},
			left: []leftSetting{{"the token env:GITHUB_TOKEN", "--workload SOURCE"}}},
		"a platform": {settings: authSettings{Grant: grantWorkload, Workload: "gcp:https://evil.example"},
			left: []leftSetting{{"the token gcp:https://evil.example", "--workload SOURCE"}}},
		"a command": {settings: authSettings{Grant: grantWorkload, Workload: "command:vault read -token hunter2"},
			left: []leftSetting{{"the token of a command", "--workload SOURCE"}}},
		"a source without its grant": {settings: authSettings{Workload: "file:/run/token"},
			left: []leftSetting{{"the token file:/run/token", "--workload SOURCE"}}},
		"a company": {settings: enterprise(enterpriseSettings{Device: true}), kept: enterprise(enterpriseSettings{Device: true})},
		"a company's token": {settings: enterprise(enterpriseSettings{IDToken: "file:/home/u/.vault-token"}),
			left: []leftSetting{{"the token file:/home/u/.vault-token", "--enterprise https://company.example --enterprise-id-token SOURCE"}}},
		"a company's token, by command": {settings: enterprise(enterpriseSettings{IDToken: "command:cat x"}),
			left: []leftSetting{{"the token of a command", "--enterprise https://company.example --enterprise-id-token SOURCE"}}},
		"a secret in a file": {settings: enterprise(enterpriseSettings{ClientID: "x", ClientSecretFile: "/etc/x"}),
			left: []leftSetting{{"the client secret in /etc/x", "--enterprise https://company.example --enterprise-client-id ID --enterprise-client-secret-file FILE"}}},
		"a secret in a variable": {settings: enterprise(enterpriseSettings{ClientID: "x", ClientSecretEnv: "AWS_KEY"}),
			left: []leftSetting{{"the client secret in AWS_KEY", "--enterprise https://company.example --enterprise-client-id ID --enterprise-client-secret-file FILE"}}},
		"a key": {settings: authSettings{Grant: grantClientCredentials, JWTKeyFile: "/k.pem", JWTKeyID: "a b", JWTKeyAlg: "PS256"},
			kept: authSettings{Grant: grantClientCredentials},
			left: []leftSetting{{"the key file /k.pem", "--jwt-key FILE --jwt-key-id 'a b' --jwt-key-alg PS256"}}},
		"a certificate": {settings: authSettings{ClientCertFile: "/c.pem", ClientKeyFile: "/c.key"},
			left: []leftSetting{{"the certificate /c.pem", "--client-cert FILE --client-key FILE"}}},
		"the key of a certificate": {settings: authSettings{ClientKeyFile: "/c.key"},
			left: []leftSetting{{"the certificate ", "--client-cert FILE --client-key FILE"}}},
	} {
		kept, left := test.settings.withoutSources()
		if !reflect.DeepEqual(kept, test.kept) || !reflect.DeepEqual(left, test.left) {
			t.Errorf("%s: kept %+v, left %+v", name, kept, left)
		}
	}
}

// A setting of authSettings that is added has to be thought of there.
func TestSettingsWithoutSourcesKnowsAll(t *testing.T) {
	known := "Grant Workload Enterprise JWTKeyFile JWTKeyID JWTKeyAlg ClientCertFile ClientKeyFile DPoP " +
		"Issuer ClientID ClientSecretFile ClientSecretEnv IDToken Device"
	for _, s := range []reflect.Type{reflect.TypeFor[authSettings](), reflect.TypeFor[enterpriseSettings]()} {
		for f := range s.Fields() {
			if !strings.Contains(" "+known+" ", " "+f.Name+" ") {
				t.Errorf("does %s name something of a machine?", f.Name)
			}
		}
	}
}
