#include "server/security/jwt.h"

#include <gtest/gtest.h>
#include <jwt.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

namespace ptychoserve::server {
namespace {

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

struct KeyPair {
  explicit KeyPair(const char* curve = "P-256") {
    EVP_PKEY* key = EVP_EC_gen(curve);
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key);
    public_key = TextOf(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    private_key = TextOf(bio);
    EVP_PKEY_free(key);
  }
  std::string public_key;
  std::string private_key;
};

constexpr std::int64_t kNow = 2'000'000'000;

class JwtTest : public testing::Test {
 protected:
  JwtTest() : rule_{keys_.public_key, "https://issuer", "ptychoserve"} {}

  // A good token, but for what `change` does to it.
  static std::string Token(
      const std::string& key, jwt_alg_t algorithm = JWT_ALG_ES256,
      const std::function<void(jwt_t*)>& change = [](jwt_t*) {}) {
    jwt_t* jwt = nullptr;
    jwt_new(&jwt);
    jwt_add_grant(jwt, "sub", "somebody");
    jwt_add_grant(jwt, "role", "operator");
    jwt_add_grant(jwt, "tenant", "beamline7");
    jwt_add_grant(jwt, "iss", "https://issuer");
    jwt_add_grant(jwt, "aud", "ptychoserve");
    jwt_add_grant_int(jwt, "exp", kNow + 60);
    change(jwt);
    jwt_set_alg(jwt, algorithm, reinterpret_cast<const unsigned char*>(key.data()),
                static_cast<int>(key.size()));
    char* text = jwt_encode_str(jwt);
    std::string token = text == nullptr ? "" : text;
    std::free(text);
    jwt_free(jwt);
    return token;
  }
  std::string Changed(const std::function<void(jwt_t*)>& change) const {
    return Token(keys_.private_key, JWT_ALG_ES256, change);
  }
  Identity Show(const std::string& token) const {
    return IdentifyByJwt(rule_, token, absl::FromUnixSeconds(kNow));
  }

  const KeyPair keys_;
  const JwtRule rule_;
};

TEST_F(JwtTest, IsWhoItSays) {
  const std::string token = Token(keys_.private_key);
  EXPECT_TRUE(LooksLikeJwt(token));
  const Identity identity = Show(token);
  ASSERT_TRUE(identity.caller);
  EXPECT_EQ(identity.caller->name, "somebody");
  EXPECT_EQ(identity.caller->tenant, "beamline7");
  EXPECT_EQ(identity.caller->role, Role::kOperator);
}

TEST_F(JwtTest, MustBeSignedByTheKeyOfTheRule) {
  EXPECT_FALSE(Show(Token(KeyPair().private_key)).caller) << "another's key";
  std::string token = Token(keys_.private_key);
  token[token.size() / 2] = token[token.size() / 2] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(Show(token).caller) << "changed on the way";
  EXPECT_FALSE(Show("a.b.c").caller);
  // The public key is no secret: an HMAC of it is anybody's, and so is no signature at all.
  EXPECT_FALSE(Show(Token(keys_.public_key, JWT_ALG_HS256)).caller);
  EXPECT_FALSE(Show(Token("", JWT_ALG_NONE)).caller);
}

TEST_F(JwtTest, ForItsTimeOnly) {
  const Identity expired = Show(Changed([](jwt_t* jwt) {
    jwt_del_grants(jwt, "exp");
    jwt_add_grant_int(jwt, "exp", kNow);
  }));
  EXPECT_FALSE(expired.caller);
  EXPECT_EQ(expired.why, Unrecognised::kExpired);
  EXPECT_FALSE(Show(Changed([](jwt_t* jwt) { jwt_del_grants(jwt, "exp"); })).caller)
      << "one for ever";
  EXPECT_FALSE(Show(Changed([](jwt_t* jwt) { jwt_add_grant_int(jwt, "nbf", kNow + 1); })).caller);
  EXPECT_TRUE(Show(Changed([](jwt_t* jwt) { jwt_add_grant_int(jwt, "nbf", kNow); })).caller);
}

TEST_F(JwtTest, ForThisServerOnly) {
  const auto replaced = [this](const char* claim, const char* json) {
    return Show(Changed([&](jwt_t* jwt) {
             jwt_del_grants(jwt, claim);
             if (json != nullptr) jwt_add_grants_json(jwt, json);
           }))
        .caller.has_value();
  };
  EXPECT_FALSE(replaced("iss", nullptr));
  EXPECT_FALSE(replaced("iss", R"({"iss": "https://other"})"));
  EXPECT_FALSE(replaced("aud", nullptr));
  EXPECT_FALSE(replaced("aud", R"({"aud": "other"})"));
  EXPECT_FALSE(replaced("aud", R"({"aud": ["other"]})"));
  EXPECT_TRUE(replaced("aud", R"({"aud": ["other", "ptychoserve"]})"));
  EXPECT_FALSE(replaced("sub", nullptr));
  EXPECT_FALSE(replaced("role", nullptr));
  EXPECT_FALSE(replaced("role", R"({"role": "root"})"));
  EXPECT_FALSE(replaced("tenant", R"({"tenant": "../x"})"));
  EXPECT_TRUE(replaced("tenant", nullptr));
}

TEST_F(JwtTest, OneOfAllTenants) {
  const Identity identity = Show(Changed([](jwt_t* jwt) {
    jwt_del_grants(jwt, "tenant");
    jwt_add_grant(jwt, "tenant", "*");
  }));
  ASSERT_TRUE(identity.caller);
  EXPECT_TRUE(identity.caller->all_tenants);
  EXPECT_EQ(identity.caller->tenant, "default");
}

}  // namespace
}  // namespace ptychoserve::server
