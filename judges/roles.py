"""Whether somebody who plays a person in need falls out of the role.

A role break is blatant and ends a simulated conversation: the text speaks as an assistant, refuses
to play, or labels speakers. A role flip is softer and only counted: the person in need begins to
advise, to comfort or to ask as a supporter does. Patterns in English and Chinese, made to be
silent on what seekers write (rates on ESConv: `selfevo users report`).
"""

import re
from typing import Final

from judges.detectors import has_meta_text, has_role_confusion

_ASSISTANT: Final = re.compile(
    r"\bas an? (?:ai|a\.i\.|artificial intelligence|language model|chatbot)\b"
    r"|(?:^|[.!?]\s+)as an assistant,"
    r"|\bi(?:'m| am) (?:just )?an? (?:ai|language model|virtual assistant|chatbot"
    r"|digital assistant)\b"
    r"|\b(?:how|what) (?:can|may|could) i (?:help|assist|do for) (?:you|with)\b"
    r"|\bhow may i be of (?:help|service|assistance)\b"
    r"|\bi(?:'m| am) here to (?:help|support|assist|listen to) you\b"
    r"|(?:^|[.!?,;:]\s*|\b(?:please|and) )feel free to (?:ask|share|reach out)\b"
    r"|\bis there anything else (?:i can (?:do\?|(?:help|assist|support|do for you)\b)"
    r"|you(?:'d| would)? (?:like|want|need) (?:to|me|help)\b)"
    r"|(?:作为一个?|我是(?:一个)?)(?:ai|人工智能|语言模型|智能助手)(?!专业|公司|工程|行业|方向|系)"
    r"|作为一个?助手"
    r"|有什么我?(?:可以|能)(?:帮助?|为)[您你]|我(?:可以|能)(?:帮助?|为)您|很高兴为[您你]",
    re.IGNORECASE,
)
_REFUSAL: Final = re.compile(
    r"\bi(?:'m| am)? (?:sorry,? (?:but )?)?i? ?(?:can(?:no|')t|am unable to|won't|am not able to)"
    r" (?:role-?play|play (?:this|that|the) (?:role|part|person|character)|pretend to be"
    r"|continue (?:with )?this (?:role|conversation|request)"
    r"|assist with (?:this|that|these|your|such)|help with (?:that|this) request"
    r"|fulfill? (?:this|that|the|your) request"
    r"|comply(?:[.!]|$| with (?:this|that|the|your) (?:request|instruction))"
    r"|engage in (?:this|that|such|role-?play))"
    r"|\bi(?:'m| am) sorry,? (?:but )?i (?:can(?:no|')t|won't) continue (?:with )?this(?:[.!]|$)"
    r"|\bi (?:can't|cannot) (?:provide|generate|create) (?:that|this|content)\b"
    r"|(?:抱歉|对不起)[，,]?(?:但)?我(?:不能|无法)(?:扮演|协助|提供(?:这|此|该|相关)"
    r"|继续(?:扮演|这个角色|这[个场段]对话|对话)|满足(?:[您你]|这|该)的?(?:个)?(?:请求|要求))",
    re.IGNORECASE,
)
_FLIP: Final = re.compile(
    r"\byou (?:should|could|might want to|need to|must) (?:try|talk|see|consider|take|focus"
    r"|remember|be|go|make|reach|seek|give|let|keep|practice|set)\b"
    r"|\b(?:have you (?:tried|considered|thought about)|why don't you"
    r"|try to (?:focus|remember|take|be))\b"
    r"|\bi(?:'m| am) (?:so |really |very )?sorry (?:to hear (?:that )?(?:you|about your)|that you"
    r"|you're|you are)\b"
    r"|\b(?:it sounds like |i understand (?:that )?"
    r"|i can (?:see|imagine|understand) (?:that |how )?)you(?:'re| are|r| feel| have)\b"
    r"|\b(?:how do you feel|how does that make you feel|tell me more about)\b"
    r"|\b(?:your feelings are valid|you(?:'re| are) not alone|be kind to yourself|i'm here for you"
    r"|i am here for you)\b"
    r"|你(?:应该|可以试试|不妨|要学会|最好)|听起来你|我(?:能)?理解你|你的感受是|你并不孤单|我会一直陪着你",
    re.IGNORECASE,
)


def role_break(text: str) -> str | None:
    """Why the text cannot be a person's turn; None when it can."""
    plain = text.replace("’", "'")
    if _REFUSAL.search(plain):
        return "refuses to play"
    if _ASSISTANT.search(plain):
        return "speaks as an assistant"
    if has_role_confusion(text):
        return "labels a speaker"
    if has_meta_text(text):
        return "speaks about its own text"
    return None


def has_role_flip(text: str) -> bool:
    """Whether a person in need advises or comforts the other side."""
    return bool(_FLIP.search(text.replace("’", "'")))
