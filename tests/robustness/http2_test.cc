// Peers that speak HTTP/2 and mean no good. The server lives, answers others meanwhile, and holds
// nothing of theirs afterwards.

#include "tests/robustness/raw_http2.h"
#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::IsOk;

constexpr int kCalls = 20'000;
constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamFrames";
// gRPC takes a call that was reset apart only after it has begun: a flood of them holds so much
// each for a moment, and the allocator keeps it.
constexpr std::int64_t kSlackBytes = std::int64_t{kCalls} * (32 << 10);

class Http2Test : public RobustnessTest {
 protected:
  void SetUp() override {
    RobustnessTest::SetUp();
    before_ = ResidentBytes();
    peer_ = std::make_unique<RawConnection>(server().address());
    ASSERT_TRUE(peer_->Send(Preface() + Frame(FrameType::kSettings, 0, 0)));
    ASSERT_TRUE(peer_->AwaitReceived(FrameType::kSettings));
  }
  void TearDown() override {
    ExpectHealthy();
    EXPECT_LT(ResidentBytes() - before_, kSlackBytes);
    std::printf("GOAWAY %d, closed %d, RST_STREAM %d, %+.1f MiB\n",
                peer().goaway().has_value() ? static_cast<int>(*peer().goaway()) : -1,
                peer().closed(), peer().Received(FrameType::kRstStream),
                static_cast<double>(ResidentBytes() - before_) / (1 << 20));
    peer_.reset();
    RobustnessTest::TearDown();
  }
  RawConnection& peer() { return *peer_; }
  // Sends it so often, or as long as the server takes it, and waits until it has been dealt with.
  void Flood(const std::function<std::string(int)>& next, int times) {
    for (int k = 0; k < times; ++k) {
      if (!peer().Send(next(k))) return;
      if (k == times / 2) {
        EXPECT_THAT(api().Info().status, IsOk());
      }
    }
    const int pings = peer().Received(FrameType::kPing);
    peer().Send(Frame(FrameType::kPing, 0, 0, std::string(8, 'p')));
    EXPECT_TRUE(
        Eventually([&] { return peer().Received(FrameType::kPing) > pings || peer().closed(); }));
  }

 private:
  std::int64_t before_ = 0;
  std::unique_ptr<RawConnection> peer_;
};

TEST_F(Http2Test, CallsThatAreResetAtOnce) {
  const std::string headers = HeaderBlock(CallHeaders(kMethod));
  const std::string cancel("\0\0\0\x08", 4);
  Flood(
      [&](int k) {
        const auto stream = static_cast<std::uint32_t>(2 * k + 1);
        return Frame(FrameType::kHeaders, kEndHeaders, stream, headers) +
               Frame(FrameType::kRstStream, 0, stream, cancel);
      },
      kCalls);
}

TEST_F(Http2Test, CallsWithoutEnd) {
  ASSERT_TRUE(peer().Send(Frame(FrameType::kSettings, kAck, 0)));  // 256 at a time are allowed.
  const std::string headers = HeaderBlock(CallHeaders(kMethod));
  Flood(
      [&](int k) {
        return Frame(FrameType::kHeaders, kEndHeaders, static_cast<std::uint32_t>(2 * k + 1),
                     headers);
      },
      2'000);
}

TEST_F(Http2Test, PingsAreAnsweredUntilTheyAreTooMany) {
  Flood([](int) { return Frame(FrameType::kPing, 0, 0, std::string(8, 'p')); }, 20'000);
  EXPECT_TRUE(peer().AwaitClosed());
  EXPECT_EQ(peer().goaway(), kEnhanceYourCalm);
}

TEST_F(Http2Test, SettingsWithoutEnd) {
  const std::string window("\0\x04\0\0\xff\xff", 6);  // SETTINGS_INITIAL_WINDOW_SIZE
  Flood([&](int) { return Frame(FrameType::kSettings, 0, 0, window); }, 20'000);
}

TEST_F(Http2Test, HeadersOfMegabytes) {
  HeaderFields fields = CallHeaders(kMethod);
  const std::string block = HeaderBlock(fields);
  std::string fill = HeaderBlock({{"x-fill", std::string(15'000, 'x')}});
  ASSERT_TRUE(peer().Send(Frame(FrameType::kHeaders, 0, 1, block)));
  // A ping may not come between them, so that the server can only end this.
  Flood([&](int) { return Frame(FrameType::kContinuation, 0, 1, fill); }, 1'000);
}

TEST_F(Http2Test, MegabyteOfMetadataInACall) {
  const auto context = integration::Context();
  context->AddMetadata("x-fill", std::string(1'000'000, 'x'));
  v1::ServerInfo info;
  const grpc::Status status =
      api().stub().GetServerInfo(context.get(), v1::GetServerInfoRequest(), &info);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << integration::Describe(status);
}

TEST_F(Http2Test, BytesThatAreNoHttp2) {
  RawConnection stranger(server().address());
  stranger.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_TRUE(stranger.AwaitClosed());
  // A frame longer than allowed, in the midst of a connection that was in order.
  peer().Send(std::string("\xff\xff\xff", 3) + std::string(1 << 16, 'x'));
  EXPECT_TRUE(peer().AwaitClosed());
}

}  // namespace
}  // namespace ptychoserve::robustness
