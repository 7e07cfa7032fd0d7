//! Public keys, and tokens that their private halves signed: `exp` 2000000000, `sub` ann, publish `news*`, subscribe
//! `inner.*`. The private halves are gone.

pub(super) const RSA: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzK4kjqMMxjIFQKhp2Et8\n\
ZMKVOKoF0K7kiITAuZdzJgQo0JLFzudlefNo0ZmqCFbYDsN/0Jmu2EOIdRw/hibN\n\
woWjQX5YyUiK0QlAnYL1qFlJ7DpDeZMsH3jZ99kIgStubnHQfvs6QHVvdryNN2hf\n\
LUvpdfP4syxVaMp2JjWHwcs22kurzw8bxs4PhlxKucj+KSf5LGXJNAlq59g9YzDi\n\
6OWTqJbSvVYjoWQ2Dh7nafrmuRQloo2IN6+9PmA+8Qo4NRdtmfGS88PqTx/lNopN\n\
55hrzcgD12J0iegSewJKnhs39H980bG/+lBI6/w6W+CLA5GiTio66nRQ5LaPTXr1\n\
EwIDAQAB\n\
-----END PUBLIC KEY-----\n";
pub(super) const RSA_SECOND: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0ZCICuHbLqRbd7pEuSLb\n\
Y8QXsuS2CPP0lSYujhvH1bfYV3OW0hFMIgHl6N/gLViC8AIL0CtS0qUgsL84urbm\n\
mR8aJSBVR61N/3zO8kSAoL0f6Qsr/5m/sLtoPAE3gs5Y4vawvnqCCA15SvQ8oBFL\n\
ETh3i/87f5RniymmB40FOEIkMVOZYO38cLX7j4Q59kvjBbAQN+WOA6IL3RR+SwiR\n\
DoRKjmUqj7GODHTrcAM7wkbAxqvX6I7l+zYnmL85yjPKij1OvpXgQFLWFZ9ybhC+\n\
5StGAsr2zDmOP60F19/axTk7y4rxDutqWJ1YbN8xhtqDgMkG/0vYO7P8hyFo7KhZ\n\
7QIDAQAB\n\
-----END PUBLIC KEY-----\n";
pub(super) const RSA_SHORT: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC9gPnk7gMfaMFqzqsd7Y0x3rJO\n\
g6+59cuThg32hAZoBpNebCcZw+17rzaLIjYo5bVq5ebYmtTeHH0oaLNYhZUNPovG\n\
T6u+ML9pzNi03w5t3LJiGwF/wj53OMO3DE9lFrm0mnQvRJX2C8nNF2XTow37xSRu\n\
bCLzblsEx46SdrqbYwIDAQAB\n\
-----END PUBLIC KEY-----\n";
pub(super) const P256: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7FXEsaVfBUd59M3RS3iO6eZbTwuE\n\
otMb2f+4/0eyWE53yWcc6s6AFN5/2u/qlqjoG/uwXpIpQLWQyIU5RVr+eQ==\n\
-----END PUBLIC KEY-----\n";
pub(super) const P384: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAENZ7CvdbG7MRHu7CO7RYsTaELvuxR8d0B\n\
0/oL4W7bxLERcodu+QqSF4wQQp7/nX65ag/0h2ABusldPwkn7UA4nsPJhfiTK85C\n\
V7ak+phwpT3bwxYPcgYlMAv+6KfpXmKG\n\
-----END PUBLIC KEY-----\n";
pub(super) const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEAa3vvD5B6ywevYZ4ETPNlcLTEGBPpFLgB+Q785RYF1b4=\n\
-----END PUBLIC KEY-----\n";
pub(super) const TOKEN_RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjIwMDAwMDAwMDAsInN1YiI6ImFubiIsInRyaWRlbnQiOnsicHVibGlzaCI6WyJuZXdzKiJdLCJzdWJzY3JpYmUiOlsiaW5uZXIuKiJdfX0.wI8GnmVFPFq7jT_xZF0B-ibS8lGg4U1ViypnfrLmpOMo2yGGuKkqfFk_jLh9oAmYCw8zxxFxIvIbcidqgQ-RagVdYLfUc07JTnYO3MlZFFGtEef4mbbd4UcSTRCPJbmLbFjiHg6KT_lG0bf5EW-L4tG7awuLc7BRvdnENBd9IOvgSCjftxNvB9N6La1qgmDbMeiw287a_e1u7myFGi9wZmr2jjbE_ZO-AdY1zvfYBpMbyKYoagZQnMTgrEIqxz54rJ5AIQoo3ennJHhy0DCxyAAMbbDhVUTDOuAFVZI5ptp9IGgEf8NSO5b9-lJ4L-7BvqNT_eJLMEeglL-SSGJPlg";
pub(super) const TOKEN_RS256_SECOND: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InNlY29uZCJ9.eyJleHAiOjIwMDAwMDAwMDAsInN1YiI6ImFubiIsInRyaWRlbnQiOnsicHVibGlzaCI6WyJuZXdzKiJdLCJzdWJzY3JpYmUiOlsiaW5uZXIuKiJdfX0.tpNiL676ILUl0R4le_8uSUMdikHsexenxvtibizceN515_ZNoIYRt_uCheLPE9oAp3z1JCBZ1BIbtXU5ij855M-V2kKuBABebq1_oMVRM-qTNMJc6spNOLB45AE0M_ga1V_2rcZPNtWI_5zGegzA9SyCEF52VQNCSjmSpYGIaq_-KH3MLHxwgCoHY-nEWSoklvHE5jJyQiNZpaLPEzNboVQOUrqP8qsGjLR0HttQdJAyMG7RUFw0RdpDRG0zwoHJBjzkPSAzgdsy_v4LUdaDk-Ui4CShl3RoKVXGLkrTwU01VRsi1LdPVGB5uoPbcZiNRRwx_SKXvNorvrwsD727-Q";
pub(super) const TOKEN_ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjIwMDAwMDAwMDAsInN1YiI6ImFubiIsInRyaWRlbnQiOnsicHVibGlzaCI6WyJuZXdzKiJdLCJzdWJzY3JpYmUiOlsiaW5uZXIuKiJdfX0.xlqMSjINTsWwxcEmxv29W3S-jTP89yDB9MqqOCprRg_DJKYy_aUWW-d_UA6NiPYefeT28I0AlAWUTcaDkFfokw";
pub(super) const TOKEN_EDDSA: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJleHAiOjIwMDAwMDAwMDAsInN1YiI6ImFubiIsInRyaWRlbnQiOnsicHVibGlzaCI6WyJuZXdzKiJdLCJzdWJzY3JpYmUiOlsiaW5uZXIuKiJdfX0.pLCK0OXHBAM5jXcYY7ziN8XgcfZCUdqdgB1VkjUp72n6s8dmZyCLpit2Jahc0qSi7ArSZuAz26NLX7YInME_AQ";
