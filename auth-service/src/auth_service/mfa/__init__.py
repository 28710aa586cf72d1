"""Second factors: codes of authenticator apps, passkeys and recovery codes; which a person has, and verifying one."""
