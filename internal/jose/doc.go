// Package jose signs and reads what OAuth uses of JOSE: client assertions (RFC 7523), DPoP
// proofs (RFC 9449), JWKs (RFC 7517) and id tokens. It is the only importer of go-jose.
package jose
