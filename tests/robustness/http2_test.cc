// Peers that speak HTTP/2 and mean no good. The server lives, answers others meanwhile, and holds
// nothing of theirs afterwards.

#include "tests/robustness/raw_http2.h"
#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::IsOk;

constexpr std::int64_t kSlackBytes = std::int64_t{128} << 20;
constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamFrames";

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
    std::printf("the peer got: %d RST_STREAM, GOAWAY %d, %s; the server holds %+.1f MiB\n",
                peer().Received(FrameType::kRstStream),
                peer().goaway().has_value() ? static_cast<int>(*peer().goaway()) : -1,
                peer().closed() ? "closed" : "stays",
                static_cast<double>(ResidentBytes() - before_) / (1 << 20));
    peer_.reset();
    RobustnessTest::TearDown();
  }
  RawConnection& peer() { return *peer_; }
  // Calls that are opened, and never anything else.
  void FloodWithCalls() {
    const std::string headers = HeaderBlock(CallHeaders(kMethod));
    Flood(
        [&](int k) {
          return Frame(FrameType::kHeaders, kEndHeaders, static_cast<std::uint32_t>(2 * k + 1),
                       headers);
        },
        2'000);
  }
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

// On a server of its own, which is killed: gRPC 1.51 loses some of such calls, whatever the method,
// with about 20 KiB each, and waits for them in vain when it is to end.
TEST(RapidResetTest, CallsThatAreResetAtOnce) {
  constexpr int kCalls = 20'000;
  constexpr std::int64_t kBytesPerCall = 32 << 10;
  const auto server = integration::ServerProcess::Start();
  ASSERT_NE(server, nullptr);
  const std::int64_t before = StatsOf(server->pid()).resident_bytes;
  RawConnection peer(server->address());
  ASSERT_TRUE(peer.Send(Preface() + Frame(FrameType::kSettings, 0, 0)));
  const std::string headers = HeaderBlock(CallHeaders(kMethod));
  const std::string cancel("\0\0\0\x08", 4);
  for (int k = 0; k < kCalls; ++k) {
    const auto stream = static_cast<std::uint32_t>(2 * k + 1);
    if (!peer.Send(Frame(FrameType::kHeaders, kEndHeaders, stream, headers) +
                   Frame(FrameType::kRstStream, 0, stream, cancel))) {
      break;
    }
  }
  integration::Api stranger(server->address());
  EXPECT_THAT(stranger.Info().status, IsOk());
  EXPECT_LT(StatsOf(server->pid()).resident_bytes - before, kCalls * kBytesPerCall);
  EXPECT_TRUE(server->running());
}

TEST_F(Http2Test, CallsWithoutEnd) {
  // Of a peer that has acknowledged how many may be open at a time.
  ASSERT_TRUE(peer().Send(Frame(FrameType::kSettings, kAck, 0)));
  FloodWithCalls();
  EXPECT_TRUE(peer().AwaitClosed());
}

TEST_F(Http2Test, CallsOfAPeerThatDoesNotAcknowledgeTheLimits) { FloodWithCalls(); }

TEST_F(Http2Test, PingsAreAnsweredUntilTheyAreTooMany) {
  Flood([](int) { return Frame(FrameType::kPing, 0, 0, std::string(8, 'p')); }, 20'000);
  EXPECT_TRUE(peer().AwaitClosed());
  // The reset that follows, as not all was read, may overtake it.
  EXPECT_EQ(peer().goaway().value_or(kEnhanceYourCalm), kEnhanceYourCalm);
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
  integration::Api careless(server().address());  // It may lose its connection by that.
  const auto context = integration::Context();
  context->AddMetadata("x-fill", std::string(1'000'000, 'x'));
  v1::ServerInfo info;
  const grpc::Status status =
      careless.stub().GetServerInfo(context.get(), v1::GetServerInfoRequest(), &info);
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
